"""Small sound files of every kind that is read, to be mutated: drawn, and real where present."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amir.imaging import Scan, write_new_series, write_scan
from amir.modality import MODELLING_RANGES, Modality
from benchmarks.mutation.packed import zipped

_AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
_SHAPES = {Modality.MRI: (24, 20, 3), Modality.CT: (20, 24, 5), Modality.PET: (16, 16, 4)}
# Of the oddities: at most 128 x 128, and each its own transfer syntax or kind of file.
_ODDITIES = [
    *("pydicom/CT_small.dcm", "pydicom/MR_small.dcm", "pydicom/MR_small_RLE.dcm"),
    *("pydicom/MR_small_bigendian.dcm", "pydicom/MR_small_implicit.dcm", "pydicom/693_J2KI.dcm"),
    *("pydicom/MR_small_jp2klossless.dcm", "pydicom/MR_small_jpeg_ls_lossless.dcm"),
    *("pydicom/emri_small_jpeg_ls_lossless.dcm", "pydicom/emri_small_RLE.dcm"),
    *("pydicom/image_dfl.dcm", "pydicom/SC_rgb_rle.dcm", "derived/ct_monochrome1.dcm"),
    *("derived/ct_nonsquare.dcm", "pydicom/DICOMDIR"),
]


@dataclass(frozen=True)
class Specimen:
    """A sound file: what it is called, what it says of itself, and its bytes."""

    name: str
    modality: Modality
    content: bytes

    @property
    def kind(self) -> str:
        return next(kind for kind in (".nii.gz", ".nii", ".npy", ".zip", "") if kind in self.name)


def specimens(folder: Path, oddities: Path | None = None) -> list[Specimen]:
    """folder: where series are written on the way. oddities: the real files, where they are."""
    drawn = [item for modality in Modality for item in _drawn(modality, folder)]
    return [*drawn, *(_real(oddities) if oddities else [])]


def large_specimens(oddities: Path) -> list[Specimen]:
    """Real files of 512 x 512 in every transfer syntax, and of many frames; for longer runs."""
    names = [*oddities.glob("cornerstone/*.dcm"), *oddities.glob("pydicom/e*.dcm")]
    return [Specimen(path.name, Modality.CT, path.read_bytes()) for path in sorted(names)]


def _drawn(modality: Modality, folder: Path) -> Iterator[Specimen]:
    scan = _scan(modality)
    series = folder / modality
    write_new_series(scan, series, patient_id="phantom-1")
    files = sorted(series.iterdir())
    yield Specimen(f"{modality}.dcm", modality, files[1].read_bytes())
    members = [(file.name, file.read_bytes()) for file in files]
    yield Specimen(f"{modality}.zip", modality, zipped(members))
    volume = folder / f"{modality}.nii"
    write_scan(scan, volume)
    yield Specimen(volume.name, modality, volume.read_bytes())
    packed = gzip.compress(volume.read_bytes(), mtime=0)
    yield Specimen(f"{modality}.nii.gz", modality, packed)
    numbers = io.BytesIO()
    np.save(numbers, scan.voxels[..., 0].T)
    yield Specimen(f"{modality}.npy", modality, numbers.getvalue())


def _scan(modality: Modality) -> Scan:
    """A disc with noise on air, in whole numbers but for PET."""
    limits, shape = MODELLING_RANGES[modality], _SHAPES[modality]
    x, y, _ = np.indices(shape)
    inside = np.hypot(x - shape[0] / 2, y - shape[1] / 2) < min(shape[:2]) / 3
    noise = np.random.default_rng(7).uniform(0.3, 0.6, shape)
    voxels = limits.lower + np.where(inside, noise, 0) * limits.span
    if modality is not Modality.PET:
        voxels = np.rint(voxels)
    return Scan(voxels.astype(np.float32), _AFFINE, modality, limits.unit)


def _real(folder: Path) -> Iterator[Specimen]:
    for name in _ODDITIES:
        path = folder / name
        modality = Modality.CT if "CT" in path.name.upper() else Modality.MRI
        yield Specimen(path.name.replace("DICOMDIR", "index.dcm"), modality, path.read_bytes())
