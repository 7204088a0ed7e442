"""Voxels above the range of training: restored from darkened slices, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from amir.inference.above_range import bright_slices, with_bright_voxels
from amir.modality import Modality


def stack() -> np.ndarray:
    slices = np.random.default_rng(0).uniform(0, 19, (4, 8, 8)).astype(np.float32)
    slices[2, 3, 4] = 50
    slices[3, 0, 0] = 25
    return slices


def test_only_bright_slices_are_restored_again_and_all_of_them_fit() -> None:
    degraded = stack()
    bright = bright_slices(degraded, Modality.PET, scale=1.0)
    assert bright is not None
    assert bright.index.tolist() == [2, 3]
    assert 19.99 < (degraded[bright.index] * np.float32(bright.scale)).max() <= 20


def test_only_voxels_above_the_range_are_taken_from_the_second_time() -> None:
    degraded = stack()
    bright = bright_slices(degraded, Modality.PET, scale=1.0)
    assert bright is not None
    restored, again = degraded * 0.9, np.full((2, 8, 8), 33, np.float32)
    whole = with_bright_voxels(restored, degraded, again, bright, Modality.PET, scale=1.0)
    expected = degraded * np.float32(0.9)
    expected[2, 3, 4] = expected[3, 0, 0] = 33
    np.testing.assert_allclose(whole, expected)
    np.testing.assert_array_equal(restored, degraded * np.float32(0.9))


def test_parts_of_a_scan_are_darkened_alike() -> None:
    degraded = stack()
    (one, other) = (
        bright_slices(degraded[part], Modality.PET, scale=1.0, peak=50) for part in ([2], [3])
    )
    assert one is not None
    assert other is not None
    assert one.scale == other.scale


def test_mr_is_darkened_by_its_own_scale() -> None:
    degraded = stack()
    assert bright_slices(degraded, Modality.MRI, scale=1.0) is None
    bright = bright_slices(degraded, Modality.MRI, scale=100.0)
    assert bright is not None
    assert bright.index.tolist() == [2]
    assert bright.scale == pytest.approx(4095 / 50, rel=1e-4)


@pytest.mark.parametrize("modality", Modality)
def test_what_fits_and_metal_in_ct_is_left_alone(modality: Modality) -> None:
    assert bright_slices(stack()[:2], modality, scale=1.0) is None
    assert bright_slices(np.empty((0, 8, 8), np.float32), modality, scale=1.0) is None
    assert bright_slices(np.full((1, 2, 2), 4e4, np.float32), Modality.CT, scale=1.0) is None
