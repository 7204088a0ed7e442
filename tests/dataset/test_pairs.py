"""A scan to its pair: given or simulated, on one grid, scaled."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amir.config import IntensityScale, PrepareSettings
from amir.dataset.cohort import CohortRow
from amir.dataset.pairs import read_pair, slice_seeds
from amir.errors import InputError
from amir.imaging import Scan
from amir.modality import Modality
from amir.phantoms import phantom_scan

SETTINGS = PrepareSettings(cohort=Path("cohort.csv"), out=Path("out"))


@pytest.mark.parametrize("modality", Modality)
def test_a_scan_alone_is_degraded_by_its_modality(
    modality: Modality, row: Callable[..., CohortRow]
) -> None:
    scan = phantom_scan(modality, 0, size=48, slices=8)
    pair = read_pair(row(scan), SETTINGS)
    assert pair.degraded.voxels.shape == pair.target.voxels.shape == scan.voxels.shape
    assert np.abs(pair.degraded.voxels - pair.target.voxels).max() > 0
    assert json.dumps(pair.degradation)
    if modality is not Modality.PET:  # its target is a reconstruction
        np.testing.assert_allclose(pair.target.voxels, scan.voxels, rtol=1e-5, atol=1e-3)


def test_a_given_pair_is_taken_as_it_is_and_scaled_by_the_degraded_scan(
    row: Callable[..., CohortRow],
) -> None:
    target = phantom_scan(Modality.MRI, 0, size=48, slices=6)
    degraded = target.with_voxels(target.voxels / 3)
    pair = read_pair(row(target, degraded), SETTINGS)
    assert pair.degradation == {"name": "paired"}
    np.testing.assert_allclose(pair.degraded.voxels, target.voxels / 3, rtol=1e-6)
    itself = read_pair(row(target, target), SETTINGS)
    assert pair.scale == pytest.approx(3 * itself.scale, rel=1e-4)


@pytest.mark.parametrize("fault", ["shape", "place"])
def test_a_pair_on_two_grids_is_refused(fault: str, row: Callable[..., CohortRow]) -> None:
    target = phantom_scan(Modality.CT, 0, size=48, slices=4)
    if fault == "shape":
        degraded = phantom_scan(Modality.CT, 0, size=48, slices=5)
    else:
        shift = np.zeros((4, 4))
        shift[0, 3] = 1.0
        degraded = Scan(target.voxels, target.affine + shift, Modality.CT, "HU")
    with pytest.raises(InputError, match="do not lie on one grid; resample one") as caught:
        read_pair(row(target, degraded), SETTINGS)
    assert caught.value.code == "inconsistent"


def test_patterns_that_find_other_names_are_no_pair(tmp_path: Path) -> None:
    for name in ("HQ/s_1.bin", "HQ/s_2.bin", "LQ/s_1.bin", "LQ/s_3.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(pickle.dumps(np.ones((4, 5), np.float32)))
    row = CohortRow("p", Modality.CT, tmp_path / "HQ" / "s_*.bin", tmp_path / "LQ" / "s_*.bin")
    with pytest.raises(InputError, match=r"slice s_2.bin is there only once in the pair \(2 such"):
        read_pair(row, SETTINGS)


def test_clipped_voxels_are_counted_on_the_networks_scale(row: Callable[..., CohortRow]) -> None:
    head = phantom_scan(Modality.MRI, 0, size=48, slices=4)
    listed = row(head.with_voxels(head.voxels * 1000))
    assert read_pair(listed, SETTINGS).clipped() == 0
    fixed = SETTINGS.model_copy(update={"intensity": IntensityScale(scale="fixed")})
    assert read_pair(listed, fixed).clipped() > 0


def test_seeds_follow_from_dataset_scan_and_slice_alone() -> None:
    seeds = slice_seeds(0, "ab", 100)
    assert slice_seeds(0, "ab", 3) == seeds[:3]
    assert len({*seeds, *slice_seeds(1, "ab", 100), *slice_seeds(0, "cd", 100)}) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)
