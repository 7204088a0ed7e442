"""A scan to its pairs of slices: paired or simulated, scaled, cut, without air."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amir.config import IntensityScale, PrepareSettings
from amir.dataset.cohort import CohortRow
from amir.dataset.pairs import kept_slices, read_pair, slice_pairs, slice_seeds
from amir.dataset.schema import unpack
from amir.errors import InputError
from amir.imaging import Scan, write_scan
from amir.modality import MODELLING_RANGES, Modality
from amir.phantoms import phantom_scan

SETTINGS = PrepareSettings(cohort=Path("cohort.csv"), out=Path("out"))


@pytest.fixture
def row(tmp_path: Path) -> Callable[..., CohortRow]:
    """A cohort row of scans written as NIfTI."""

    def make(target: Scan, degraded: Scan | None = None) -> CohortRow:
        write_scan(target, tmp_path / "target.nii.gz")
        if degraded is not None:
            write_scan(degraded, tmp_path / "degraded.nii.gz")
        return CohortRow(
            "p",
            target.modality,
            tmp_path / "target.nii.gz",
            tmp_path / "degraded.nii.gz" if degraded else None,
        )

    return make


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


@pytest.mark.parametrize("modality", Modality)
def test_rows_are_cut_in_the_plane_of_training(
    modality: Modality, row: Callable[..., CohortRow]
) -> None:
    listed = row(phantom_scan(modality, 0, size=40, slices=12))
    rows = list(slice_pairs(read_pair(listed, SETTINGS), listed, SETTINGS))
    plane, shape = ("coronal", (12, 40)) if modality is Modality.PET else ("axial", (40, 40))
    for cells in rows:
        assert (cells["plane"], cells["unit"]) == (plane, MODELLING_RANGES[modality].unit)
        assert (cells["height"], cells["width"]) == shape
        for name in ("target", "degraded"):
            assert unpack(cells[name], cells[f"{name}_dtype"], *shape).shape == shape


def test_slices_of_air_are_left_out() -> None:
    for modality, tissue, air in (
        (Modality.MRI, 300.0, 4.0),
        (Modality.CT, 40.0, -1000.0),
        (Modality.PET, 2.0, 0.01),
    ):
        stack = np.full((5, 20, 20), air, np.float32)
        stack[1:4, 5:15, 5:15] = tissue
        stack[4, 0, 0] = tissue  # one bright pixel is a speck
        assert kept_slices(stack, modality, None) == [1, 2, 3]


def test_central_slices_are_those_in_the_middle() -> None:
    stack = np.ones((9, 4, 4), np.float32)
    assert kept_slices(stack, Modality.MRI, 3) == [3, 4, 5]
    assert kept_slices(stack, Modality.MRI, 100) == list(range(9))


@pytest.mark.parametrize(
    ("modality", "value"), [(Modality.CT, -1024.0), (Modality.PET, 0.0), (Modality.MRI, -5.0)]
)
def test_a_scan_of_nothing_but_air_is_refused_at_once(
    modality: Modality, value: float, row: Callable[..., CohortRow]
) -> None:
    voxels = np.full((24, 24, 4), value, np.float32)
    scan = Scan(voxels, np.diag([2.0, 2, 2, 1]), modality, MODELLING_RANGES[modality].unit)
    listed = row(scan, scan)
    with pytest.raises(InputError, match=r"scan [0-9a-f]{16} holds nothing but air") as caught:
        slice_pairs(read_pair(listed, SETTINGS), listed, SETTINGS)
    assert caught.value.code == "empty"


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
