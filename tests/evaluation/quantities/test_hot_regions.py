"""Hot regions of synthetic PET scans."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from amir.evaluation.quantities.hot_regions import hot_regions

VOXEL_ML = 0.064  # 4 mm


def scan(*spheres: tuple[tuple[int, int, int], float, float]) -> NDArray[np.float32]:
    """Centre, radius in voxels, SUV; on SUV 0.5."""
    image = np.full((24, 32, 32), 0.5, np.float32)
    grid = np.indices(image.shape)
    for centre, radius, suv in spheres:
        distance = np.linalg.norm(grid - np.reshape(centre, (3, 1, 1, 1)), axis=0)
        image[distance <= radius] = suv
    return image


def test_each_hot_sphere_is_one_region_with_its_volume_and_suv() -> None:
    target = scan(((8, 8, 8), 3, 10.0), ((16, 24, 24), 4, 5.0))
    regions = hot_regions(target, 0.9 * target, voxel_ml=VOXEL_ML)
    assert [region.suv_max_target for region in regions] == [10, 5]
    assert regions[0].volume_ml == pytest.approx((target == 10).sum() * VOXEL_ML)
    assert regions[1].suv_mean_restored == pytest.approx(4.5)
    assert regions[1].suv_max_restored == pytest.approx(4.5)


def test_what_is_small_or_lukewarm_is_no_region() -> None:
    target = scan(((8, 8, 8), 1, 10.0), ((16, 24, 24), 4, 2.4))
    assert hot_regions(target, target, voxel_ml=VOXEL_ML) == []


def test_a_weaker_peak_that_swallows_a_hotter_one_is_part_of_its_surroundings() -> None:
    target = scan(((12, 12, 12), 6, 3.0), ((12, 12, 12), 3, 10.0))
    (region,) = hot_regions(target, target, voxel_ml=VOXEL_ML)
    assert region.suv_mean_target == 10


def test_regions_reach_across_slices() -> None:
    target = scan(((12, 16, 16), 5, 6.0))
    (region,) = hot_regions(target, target, voxel_ml=VOXEL_ML)
    per_slice = (target == 6).sum(axis=(1, 2))
    assert region.volume_ml == pytest.approx(per_slice.sum() * VOXEL_ML)
    assert np.count_nonzero(per_slice) == 11
