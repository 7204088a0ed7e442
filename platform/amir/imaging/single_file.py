"""A restored scan as one file of the kind it came in, to be handed on at once.

Nothing is flushed to disk and nothing is renamed into place, as `write_scan` does it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from amir.errors import InputError
from amir.imaging.derivation import Derivation
from amir.imaging.scan import Scan


def write_single_file(scan: Scan, path: Path, derivation: Derivation) -> int:
    """Write .dcm (one slice), .zip of a DICOM series, .nii, .nii.gz or .npy, by the path's end.

    Returns how many voxels did not fit the file's number type and were saturated.
    """
    if path.suffix == ".dcm":
        return _write_slice(scan, path, derivation)
    if path.suffix == ".zip":
        return _write_zip(scan, path, derivation)
    if path.suffix == ".npy":
        from amir.imaging.array_file import save_array

        save_array(scan, path)
        return 0
    from amir.imaging.nifti import save_nifti

    save_nifti(scan, path, restored=True)
    return 0


def _write_slice(scan: Scan, path: Path, derivation: Derivation) -> int:
    from amir.imaging.dicom.parse import nothing_quoted
    from amir.imaging.dicom.write import derived_files

    if scan.voxels.shape[2] != 1:
        message = f"{scan.voxels.shape[2]} slices do not fit one DICOM file; ask for a zip"
        raise InputError("unsupported", message)
    with nothing_quoted():
        [(content, saturated)] = derived_files(scan, derivation)
    path.write_bytes(content)
    return saturated


def _write_zip(scan: Scan, path: Path, derivation: Derivation) -> int:
    from amir.imaging.dicom.parse import nothing_quoted
    from amir.imaging.dicom.write import derived_files, slice_name

    saturated = 0
    with nothing_quoted(), zipfile.ZipFile(path, "w") as archive:
        for index, (content, beyond) in enumerate(derived_files(scan, derivation)):
            # Level 1 finds nearly all there is to find in 16-bit voxels. ZipInfo: no time of day.
            member = zipfile.ZipInfo(slice_name(index))
            archive.writestr(member, content, zipfile.ZIP_DEFLATED, compresslevel=1)
            saturated += beyond
    return saturated
