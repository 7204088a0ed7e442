"""The two doors for scanner files, whatever their format: read a scan, write a scan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from amir.errors import InputError
from amir.imaging.array_file import is_array_file, read_array_file
from amir.imaging.choice import split_choice
from amir.imaging.derivation import Derivation
from amir.imaging.scan import MAX_VOXELS, DicomSource, Scan
from amir.modality import Modality

# The suffix of a BIDS file name (sub-01_T1w) and the ones that collections use beside it.
_MODALITY_OF_SUFFIX = (
    (re.compile(r"(T1w|T2w|PDw|T2starw|FLAIR|T1wGd|MRI)$"), Modality.MRI),
    (re.compile(r"(FDG|SUV|pet|PET)$"), Modality.PET),
    (re.compile(r"(_ct|CT)$"), Modality.CT),
)


def read_scan(
    path: Path | str | Sequence[Path],
    *,
    modality: Modality | None = None,
    unit: str | None = None,
    max_voxels: int = MAX_VOXELS,
) -> Scan:
    """The scan in a DICOM folder, zip, DICOMDIR, list of files or file, in NIfTI or in .npy.

    path: where it holds several series, or several volumes of one, `PATH#LABEL`, `PATH#echo=80` or
    both (`PATH#LABEL,echo=80`) choose one; a refusal lists what there is. modality: checked against
    DICOM; NIfTI does not say it, so it must be given or be the name's BIDS suffix. unit: of a NIfTI
    volume, by default HU, SUV or a.u.; "Bq/ml" reads PET DICOM without SUV conversion. max_voxels:
    the most that a header may declare.
    Raises InputError, which is a ValueError, with a code and no patient data in its message.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(item) for item in path]
    choice = None
    if len(paths) == 1:
        paths[0], choice = split_choice(paths[0])
    for item in paths:
        if not item.exists():
            raise InputError("missing_file", f"{item.name} does not exist; check the path")
    if len(paths) == 1 and is_nifti(paths[0]):
        from amir.imaging.nifti import read_nifti

        modality = modality or modality_of_name(paths[0].name)
        return read_nifti(paths[0], modality=modality, unit=unit, max_voxels=max_voxels)
    if len(paths) == 1 and is_array_file(paths[0]):
        if modality is None:
            message = f"{paths[0].name} does not say its modality; give modality MRI, CT or PET"
            raise InputError("wrong_modality", message)
        return read_array_file(paths[0], modality=modality, unit=unit, max_voxels=max_voxels)
    from amir.imaging.dicom.read import read_series

    source = paths[0] if len(paths) == 1 else paths
    return read_series(source, choice=choice, modality=modality, unit=unit, max_voxels=max_voxels)


def write_scan(scan: Scan, path: Path | str, derivation: Derivation | None = None) -> int:
    """Write NIfTI where the path ends .nii or .nii.gz, else a folder with a derived DICOM series.

    derivation: what restored the scan; a DICOM series needs it and a scan that was read from DICOM.
    Returns how many voxels did not fit the file's number type and were saturated.
    """
    path = Path(path)
    if is_nifti(path):
        from amir.imaging.nifti import write_nifti

        write_nifti(scan, path, restored=derivation is not None)
        return 0
    check_can_write(scan, path)
    if derivation is None:
        message = f"{path.name}: a derived DICOM series needs a derivation; end it with .nii.gz"
        raise InputError("unsupported", message)
    from amir.imaging.dicom.write import write_derived_series

    return write_derived_series(scan, path, derivation)


def check_can_write(scan: Scan, path: Path) -> None:
    """Refuse at once what `write_scan` would refuse once a restoration is made."""
    if not is_nifti(path) and not isinstance(scan.source, DicomSource):
        message = (
            f"{path.name}: a derived DICOM series needs a scan read from DICOM; end the path with "
            ".nii.gz or use write_new_series"
        )
        raise InputError("unsupported", message)


def write_new_series(
    scan: Scan, folder: Path | str, *, patient_id: str, description: str = "", seed: int = 0
) -> int:
    """Write a synthetic scan as an original classic CT, MR or PET series; see `dicom.new`.

    Returns how many voxels did not fit 16 bits and were saturated.
    """
    from amir.imaging.dicom import new

    return new.write_new_series(
        scan, Path(folder), patient_id=patient_id, description=description, seed=seed
    )


def is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def modality_of_name(name: str) -> Modality:
    """The modality that a NIfTI file's name ends with, such as sub-01_T1w.nii.gz."""
    stem = re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE)
    for pattern, modality in _MODALITY_OF_SUFFIX:
        if pattern.search(stem):
            return modality
    message = f"{name} does not say its modality; give modality MRI, CT or PET"
    raise InputError("wrong_modality", message)
