from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from amir.imaging import Scan, from_plane, to_plane
from amir.modality import Modality

PLANES = ("axial", "coronal", "sagittal")
ORIENTATIONS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def position_scan(order, signs, *, world_axis: int) -> Scan:
    """A scan stored in any orientation whose voxels are their own RAS coordinate along one axis."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel_axis, world in enumerate(order):
        affine[world, voxel_axis] = signs[voxel_axis] * (world + 1.0)
    i, j, k = np.indices((4, 5, 6))
    coordinates = affine[:3, :3] @ np.stack([i, j, k]).reshape(3, -1)
    return Scan(coordinates[world_axis].reshape(4, 5, 6), affine, Modality.CT, "HU")


def direction(slices: np.ndarray) -> tuple[int, float]:
    """(array axis along which the values change, step)."""
    steps = [float(np.diff(slices, axis=axis).mean()) for axis in range(3)]
    axis = int(np.argmax(np.abs(steps)))
    return axis, steps[axis]


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_plane_is_displayed_the_same_way_however_it_is_stored(order, signs):
    right, anterior, superior = (position_scan(order, signs, world_axis=axis) for axis in range(3))
    # (array axis, step in RAS mm): 0 is the slice, 1 the row, 2 the column.
    assert direction(to_plane(superior, "axial").slices) == (0, 3.0)
    assert direction(to_plane(anterior, "axial").slices) == (1, -2.0)
    assert direction(to_plane(right, "axial").slices) == (2, -1.0)
    assert direction(to_plane(anterior, "coronal").slices) == (0, 2.0)
    assert direction(to_plane(superior, "coronal").slices) == (1, -3.0)
    assert direction(to_plane(right, "coronal").slices) == (2, -1.0)
    assert direction(to_plane(right, "sagittal").slices) == (0, 1.0)
    assert direction(to_plane(superior, "sagittal").slices) == (1, -3.0)
    assert direction(to_plane(anterior, "sagittal").slices) == (2, -2.0)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_slices_put_back_are_the_scan_exactly(order, signs, plane):
    scan = position_scan(order, signs, world_axis=0)
    scan = scan.with_voxels(np.random.default_rng(1).normal(size=scan.voxels.shape))
    back = from_plane(to_plane(scan, plane).slices, scan, plane)
    assert np.array_equal(back.voxels, scan.voxels)


def test_the_spacing_goes_with_row_column_and_slice():
    scan = position_scan((0, 1, 2), (1, 1, 1), world_axis=0)
    assert to_plane(scan, "axial").spacing_mm == (2.0, 1.0, 3.0)
    assert to_plane(scan, "coronal").spacing_mm == (3.0, 1.0, 2.0)
    assert to_plane(scan, "sagittal").spacing_mm == (3.0, 2.0, 1.0)


def test_an_oblique_scan_is_cut_along_its_closest_axes():
    scan = position_scan((1, 2, 0), (-1, 1, -1), world_axis=2)
    angle = np.radians(30)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    oblique = Scan(scan.voxels, turn @ scan.affine, Modality.CT, "HU")
    assert np.array_equal(to_plane(oblique, "axial").slices, to_plane(scan, "axial").slices)
