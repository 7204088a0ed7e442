"""Cut a scan into slices of an anatomical plane and put them back: axes permuted and flipped."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.imaging.scan import ArraySource, FileSource, Scan, Voxels
from amir.modality import Modality, Plane

# Per plane, where slice index, row and column run to: (world axis of RAS, sign). Radiological
# display: the patient's right is on the left of the picture, rows run to posterior (axial) or to
# inferior (the others).
_DIRECTIONS: dict[Plane, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "axial": ((2, +1), (1, -1), (0, -1)),
    "coronal": ((1, +1), (2, -1), (0, -1)),
    "sagittal": ((0, +1), (2, -1), (1, -1)),
}


@dataclass(frozen=True, eq=False)
class SliceStack:
    """slices: float32 [n, H, W] in the scan's unit; spacing_mm: (row, column, slice)."""

    slices: Voxels
    spacing_mm: tuple[float, float, float]
    plane: Plane


def to_plane(scan: Scan, plane: Plane) -> SliceStack:
    """The scan's slices of a plane, inferior to superior, posterior to anterior or left to right.

    Axial rows run from anterior to posterior, coronal and sagittal rows from superior to inferior;
    axial and coronal columns from the patient's right to left, sagittal ones from anterior to
    posterior. An oblique scan is not resampled: the closest voxel axes are taken.
    """
    order, flipped = voxel_axes(scan.affine, plane)
    slices = np.flip(scan.voxels.transpose(order), flipped)
    slice_mm, row_mm, column_mm = (scan.spacing_mm[axis] for axis in order)
    return SliceStack(np.ascontiguousarray(slices), (row_mm, column_mm, slice_mm), plane)


def from_plane(slices: NDArray[Any], scan: Scan, plane: Plane) -> Scan:
    """The exact inverse of `to_plane`: `scan` with a view of slices [n, H, W] as its voxels."""
    order, flipped = voxel_axes(scan.affine, plane)
    voxels = np.flip(slices, flipped).transpose(np.argsort(order))
    return scan.with_voxels(voxels)


def in_plane(
    slices: NDArray[Any],
    plane: Plane,
    *,
    spacing_mm: tuple[float, float, float],
    modality: Modality,
    unit: str,
    source: FileSource | ArraySource | None = None,
) -> Scan:
    """A scan whose `to_plane` gives these slices [n, H, W]; spacing_mm: (row, column, slice).

    For slices that come without a place in the patient: the first voxel lies at the origin.
    """
    row_mm, column_mm, slice_mm = spacing_mm
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    steps = (slice_mm, row_mm, column_mm)
    for axis, ((world, sign), step) in enumerate(zip(_DIRECTIONS[plane], steps, strict=True)):
        affine[world, axis] = sign * step
    return Scan(np.ascontiguousarray(slices), affine, modality, unit, source)


def voxel_axes(affine: NDArray[np.float64], plane: Plane) -> tuple[list[int], tuple[int, ...]]:
    """(voxel axes that count slices, rows and columns; places among them that run backwards)."""
    closest = _closest_voxel_axes(affine)
    order, flipped = [], []
    for position, (world, sign) in enumerate(_DIRECTIONS[plane]):
        axis = closest[world]
        order.append(axis)
        if affine[world, axis] * sign < 0:
            flipped.append(position)
    return order, tuple(flipped)


def _closest_voxel_axes(affine: NDArray[np.float64]) -> tuple[int, int, int]:
    """For each world axis (R, A, S) the voxel axis that runs along it most, each used once."""
    cosines = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    axes = max(
        permutations(range(3)), key=lambda axes: sum(cosines[w, a] for w, a in enumerate(axes))
    )
    return axes[0], axes[1], axes[2]
