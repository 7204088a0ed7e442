"""HU, SUV and histograms of restored phantoms whose error is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amir.dataset.manifest import Manifest, read_manifest
from amir.dataset.slices import SlicePair, read_shard
from amir.evaluation.quantities.scan_quantities import (
    IMAGES,
    ScanQuantities,
    assumption,
    histogram_distance,
    measure_scan,
)
from amir.modality import Modality

Restore = Callable[[SlicePair], Any]


@pytest.fixture
def manifest(tiny_dataset: Path) -> Manifest:
    return read_manifest(tiny_dataset)


@pytest.fixture
def measure(tiny_dataset: Path, manifest: Manifest) -> Callable[..., ScanQuantities]:
    """measure(modality, restore): the test scan of a modality with what `restore` makes of it."""

    def measured(modality: Modality, restore: Restore, **parameters: Any) -> ScanQuantities:
        shard = manifest.of("test", modality)[0]
        slices = ((pair, restore(pair)) for pair in read_shard(tiny_dataset, shard))
        return measure_scan(slices, parameters or shard.parameters)

    return measured


def flat_ct(pair: SlicePair) -> SlicePair:
    """Water of 40 HU with noise: soft tissue flat enough to count."""
    noise = np.random.default_rng(0).normal(40, 12, (96, 96)).astype(np.float32)
    return SlicePair(**{**vars(pair), "target": noise, "degraded": noise})


def test_a_shifted_ct_is_found_shifted_by_just_that(tiny_dataset: Path, manifest: Manifest) -> None:
    shard = manifest.of("test", Modality.CT)[0]
    pairs = [flat_ct(pair) for pair in read_shard(tiny_dataset, shard)]
    found = measure_scan([(pair, pair.target + 7) for pair in pairs], {"name": "paired"})
    assert found.totals == {
        "mean_shift_degraded": 0,
        "mean_shift_restored": pytest.approx(7, abs=1e-4),
    }
    assert all(row["histogram_restored"] == pytest.approx(7, abs=1e-4) for row in found.slices)


@pytest.mark.parametrize("modality", list(Modality))
def test_a_perfect_restoration_has_no_error_anywhere(
    measure: Callable[..., ScanQuantities], modality: Modality
) -> None:
    found = measure(modality, lambda pair: pair.target)
    assert len(found.slices) > 1
    for row in found.slices:
        assert row["histogram_restored"] == 0
        assert row["mean_restored"] == row["mean_target"]
        assert row["histogram_degraded"] > 0
    assert found.histograms["restored"] == found.histograms["target"]
    for name in ("suv_max", "suv_mean", "activity"):
        if modality is Modality.PET:
            assert found.totals[f"{name}_restored"] == found.totals[f"{name}_target"]
    residuals = {**found.slices[0], **found.totals}
    if modality is not Modality.MRI:
        assert residuals["residual"] == residuals["residual_target"]


def test_histograms_count_every_voxel_once(measure: Callable[..., ScanQuantities]) -> None:
    found = measure(Modality.PET, lambda pair: pair.degraded)
    voxels = sum(row["voxels"] for row in found.slices)
    assert [sum(found.histograms[name]) for name in IMAGES] == [voxels] * 3


def test_suv_of_a_scan_is_of_all_its_slices(measure: Callable[..., ScanQuantities]) -> None:
    found = measure(Modality.PET, lambda pair: 2 * pair.target)
    totals = found.totals
    assert totals["suv_max_restored"] == 2 * totals["suv_max_target"]
    assert totals["suv_mean_restored"] == pytest.approx(2 * totals["suv_mean_target"])
    assert totals["activity_restored"] == pytest.approx(2 * totals["activity_target"])
    assert totals["suv_max_target"] > totals["suv_mean_target"] > 0


def test_voxels_out_of_range_and_at_its_end_are_counted(
    measure: Callable[..., ScanQuantities],
) -> None:
    found = measure(Modality.CT, lambda pair: pair.target * 0 + 3071)
    row = found.slices[0]
    assert row["at_limit"] + row["handed_through"] == row["voxels"]


def test_where_the_sampling_is_unknown_nothing_is_claimed(
    measure: Callable[..., ScanQuantities],
) -> None:
    found = measure(Modality.CT, lambda pair: pair.target, name="paired")
    assert "residual" not in found.slices[0]
    assert "not known" in assumption(found.degradation)
    assert "k-space" in assumption("kspace")


def test_histogram_distance_is_how_far_voxels_move() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert histogram_distance(image + 5, image) == 5
    assert histogram_distance(image[::-1], image) == 0
