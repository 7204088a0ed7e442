"""The further metrics of a scan, against their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amir.dataset.slices import SlicePair
from amir.errors import InputError
from amir.evaluation.scan_scores import ScanScorer, target_range
from amir.metrics import score_slice, ssim
from amir.modality import Modality

Make = Callable[..., SlicePair]


def pair_of(target: Any, *, modality: Modality = Modality.CT, index: int = 0) -> SlicePair:
    image = np.asarray(target, np.float32)
    return SlicePair("p1", "ab" * 8, index, modality, (1.0, 1.0), 1.0, image, image)


@pytest.fixture
def pairs() -> list[SlicePair]:
    """Two slices of a CT scan, from -100 to 100 and from 0 to 200 HU."""
    generator = np.random.default_rng(0)
    return [
        pair_of(generator.uniform(lower, lower + 200, (40, 48)), index=k)
        for k, lower in enumerate((-100, 0))
    ]


@pytest.fixture
def rows(pairs: list[SlicePair]) -> list[dict[str, Any]]:
    scorer = ScanScorer("test/00000.parquet", Modality.CT, target_range(pairs))
    for pair in pairs:
        scorer.add(pair, pair.target + 10, method="off by 10 HU")
    table: list[dict[str, Any]] = scorer.table("ours", "d1").to_pylist()
    return table


def test_the_papers_three_are_those_of_score_slice(
    rows: list[dict[str, Any]], pairs: list[SlicePair]
) -> None:
    for row, pair in zip(rows, pairs, strict=True):
        expected = score_slice(pair.target + 10, pair.target, Modality.CT)
        assert (row["psnr"], row["ssim"], row["rmse"]) == pytest.approx(expected)
    assert [(row["method"], row["model_digest"], row["row"]) for row in rows] == [
        ("ours", "d1", 0),
        ("ours", "d1", 1),
    ]


def test_a_fixed_range_is_that_of_the_scoring_window(
    rows: list[dict[str, Any]], pairs: list[SlicePair]
) -> None:
    assert rows[0]["fixed_psnr"] == pytest.approx(20 * math.log10(400 / 10), rel=1e-5)
    expected = ssim(pairs[0].target + 10.0, pairs[0].target, 400)
    assert rows[0]["fixed_ssim"] == pytest.approx(expected, rel=1e-5)


def test_the_normalised_error_is_relative_to_what_lies_above_the_window(
    rows: list[dict[str, Any]], pairs: list[SlicePair]
) -> None:
    strength = np.sqrt(np.mean((pairs[0].target + 160.0) ** 2))
    assert rows[0]["nrmse"] == pytest.approx(10 / strength, rel=1e-5)


def test_a_volume_is_scored_with_its_own_range(
    rows: list[dict[str, Any]], pairs: list[SlicePair]
) -> None:
    width = target_range(pairs)
    assert 295 < width < 300
    assert [row["volume_psnr"] for row in rows] == pytest.approx(
        [20 * math.log10(width / 10)] * 2, rel=1e-5
    )
    each = [ssim(pair.target + 10.0, pair.target, width) for pair in pairs]
    assert rows[0]["volume_ssim"] == rows[1]["volume_ssim"] == pytest.approx(np.mean(each))


def test_a_small_slice_has_no_multi_scale_score(rows: list[dict[str, Any]]) -> None:
    assert rows[0]["ms_ssim"] is None
    scorer = ScanScorer("", Modality.CT, 400)
    large = pair_of(np.random.default_rng(1).uniform(-100, 100, (161, 170)))
    scorer.add(large, large.target, method="perfect")
    [row] = scorer.table().to_pylist()
    assert row["ms_ssim"] == pytest.approx(1)


def test_a_constant_target_has_only_what_needs_no_range() -> None:
    scorer = ScanScorer("", Modality.PET, 0.0)
    air = pair_of(np.zeros((24, 24)), modality=Modality.PET)
    scorer.add(air, air.target + 1, method="ours")
    [row] = scorer.table().to_pylist()
    assert (row["psnr"], row["ssim"], row["ms_ssim"], row["volume_psnr"]) == (None,) * 4
    assert (row["data_range"], row["rmse"], row["nrmse"]) == (0.0, 1.0, None)
    assert row["fixed_psnr"] == pytest.approx(20 * math.log10(20))


def test_mr_is_scored_on_the_networks_scale() -> None:
    image = np.random.default_rng(2).uniform(0, 100, (24, 24)).astype(np.float32)
    scaled = SlicePair("p", "s", 0, Modality.MRI, (1.0, 1.0), 4.0, image, image)
    scorer = ScanScorer("", Modality.MRI, target_range([scaled]))
    scorer.add(scaled, image + 1, method="ours")
    [row] = scorer.table().to_pylist()
    assert row["rmse"] == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pixel_that_is_not_finite_is_named_with_its_slice(value: float) -> None:
    pair = pair_of(np.zeros((24, 24)), index=17)
    broken = pair.target.copy()
    broken[3, 4] = value
    scorer = ScanScorer("", Modality.CT, 1.0)
    with pytest.raises(
        InputError, match=r"AMIR has 1 pixels.*patient p1.*abab.*slice 17"
    ) as caught:
        scorer.add(pair, broken, method="AMIR")
    assert caught.value.code == "not_finite"
