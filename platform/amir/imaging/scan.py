"""A scan: voxels in physical units, their place in the patient, and what writing back needs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amir.errors import InputError
from amir.modality import Modality

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Voxels = NDArray[np.float32]

# 512 x 512 x 2048: four times a long whole-body CT, 2 GiB as float32.
MAX_VOXELS = 2**29


@dataclass(frozen=True, eq=False)
class DicomSource:
    """The series a scan was read from.

    slices: one classic header per slice, without pixel data, in the order of the third voxel axis.
    unit_factors: per slice, voxel = rescaled stored value * factor (SUV per Bq/ml; 1 otherwise).
    frames: per slice, its place in a multi-frame file from 1 on; None in a file of its own.
    is_on_source_grid: false once the headers tell of another grid than the files have.
    """

    slices: tuple[Dataset, ...]
    unit_factors: tuple[float, ...]
    file_digests: tuple[str, ...]
    frames: tuple[int | None, ...]
    is_on_source_grid: bool = True


@dataclass(frozen=True, eq=False)
class NiftiSource:
    """The header of the volume a scan was read from (nibabel's, without its extensions)."""

    header: Any
    file_digests: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FileSource:
    """Files that hold nothing but numbers."""

    file_digests: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ArraySource:
    """An array without a header; axes: 2 where it was one slice, else 3."""

    axes: int
    file_digests: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Scan:
    """One volume of one patient.

    voxels: float32 [X, Y, Z], finite, in `unit`. affine: float64 [4, 4], voxel index (i, j, k, 1)
    to RAS millimetres. unit: "HU", "SUV", "Bq/ml" or "a.u.". source: None for a synthetic scan.
    """

    voxels: Voxels
    affine: NDArray[np.float64]
    modality: Modality
    unit: str
    source: DicomSource | NiftiSource | FileSource | ArraySource | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "voxels", np.asarray(self.voxels, dtype=np.float32))
        object.__setattr__(self, "affine", np.asarray(self.affine, dtype=np.float64))
        _check_voxels(self.voxels)
        _check_affine(self.affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours along each voxel axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @cached_property
    def content_hash(self) -> str:
        """sha256 of what the scan was made from: its files in any order, else voxels and affine."""
        if self.source is not None:
            return digest_of_files(self.source.file_digests)
        shape = str(self.voxels.shape).encode()
        return hashlib.sha256(shape + self.affine.tobytes() + self.voxels.tobytes()).hexdigest()

    def with_voxels(self, voxels: NDArray[Any]) -> Scan:
        """The same patient, geometry and source with other intensities of the same shape."""
        if voxels.shape != self.voxels.shape:
            raise ValueError(f"voxels have shape {voxels.shape}, the scan has {self.voxels.shape}")
        return replace(self, voxels=voxels)


def digest_of_files(file_digests: Sequence[str]) -> str:
    """sha256 over the sorted sha256 of the files."""
    return hashlib.sha256("".join(sorted(file_digests)).encode()).hexdigest()


def check_voxel_count(shape: Sequence[int], *, name: str, limit: int = MAX_VOXELS) -> None:
    """Refuse a declared volume before any of it is decoded."""
    count = int(np.prod([int(size) for size in shape], dtype=object))
    if count > limit:
        message = f"{name} declares {count} voxels, the limit is {limit}; crop or split it"
        raise InputError("too_large", message)


def _check_voxels(voxels: Voxels) -> None:
    if voxels.ndim != 3 or voxels.size == 0:
        message = f"a scan needs three axes of at least one voxel, not shape {voxels.shape}"
        raise InputError("unsupported", message)
    if not np.isfinite(voxels).all():
        count = int(voxels.size - np.isfinite(voxels).sum())
        message = f"{count} of {voxels.size} voxels are NaN or infinite; replace them first"
        raise InputError("not_finite", message)


def _check_affine(affine: NDArray[np.float64]) -> None:
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise InputError("unreadable", "the scan's affine is not a finite 4 x 4 matrix")
    if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError("unreadable", "the scan's affine is singular: two voxel axes coincide")
