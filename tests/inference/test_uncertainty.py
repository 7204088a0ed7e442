"""The spread over mirrored copies: zero where the network is sure, in the scan's units else."""

from __future__ import annotations

import numpy as np
import pytest

from amir.inference.trust.uncertainty import (
    MIRRORED,
    UncertaintyTally,
    deviation,
    mirror,
    restore_with_deviation,
)
from amir.modality import Modality

STACK = np.random.default_rng(0).uniform(0, 300, (3, 9, 14)).astype(np.float32)


@pytest.mark.parametrize("number", range(len(MIRRORED)))
def test_mirroring_twice_changes_nothing(number: int) -> None:
    assert np.array_equal(mirror(mirror(STACK, number), number), STACK)
    assert not np.array_equal(mirror(STACK, number), STACK)


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_network_that_does_not_care_how_the_patient_lies_is_sure(passes: int) -> None:
    restored, spread = restore_with_deviation(lambda slices: slices * 2, STACK, passes=passes)
    assert np.array_equal(restored, STACK * 2)
    np.testing.assert_allclose(spread, 0, atol=1e-4)


def test_one_that_does_is_unsure_by_as_much_as_it_cares() -> None:
    ramp = np.linspace(-1, 1, 14, dtype=np.float32)
    restored, spread = restore_with_deviation(lambda slices: slices + ramp, STACK, passes=1)
    assert np.array_equal(restored, STACK + ramp)
    expected = np.broadcast_to(np.sqrt(2) * np.abs(ramp), STACK.shape)
    np.testing.assert_allclose(spread, expected, atol=1e-3)


def test_the_deviation_is_that_of_the_passes() -> None:
    passes = [STACK, STACK + 3, STACK - 3]
    np.testing.assert_allclose(deviation(passes), np.full(STACK.shape, 3), rtol=1e-3)


def test_the_summary_leaves_air_out_and_speaks_in_the_scans_units() -> None:
    degraded = np.full((2, 10, 10), -1000, np.float32)
    degraded[:, :5] = 40
    spread = np.where(degraded > 0, 8, 500).astype(np.float32)
    spread[0, 0, 0] = 30
    tally = UncertaintyTally(Modality.CT)
    for number in range(2):
        part = slice(number, number + 1)
        tally.add(spread[part], degraded[part], degraded[part] + 16)
    summary = tally.summary()
    assert summary is not None
    assert summary.unit == "HU"
    assert summary.maximum == 30
    assert summary.mean == pytest.approx(8.22)
    assert summary.median == pytest.approx(8, rel=0.07)
    assert summary.percentile_95 == pytest.approx(8, rel=0.07)
    assert summary.per_change == pytest.approx(8.22 / 16)


def test_a_scan_times_seven_is_seven_times_as_unsure() -> None:
    summaries = []
    for times in (1, 7):
        tally = UncertaintyTally(Modality.MRI)
        tally.add(STACK * 0.1 * times, STACK * times, STACK * times, scale=5 / times)
        summaries.append(tally.summary(scale=5 / times))
    once, brighter = summaries
    assert once is not None
    assert brighter is not None
    assert brighter.median == pytest.approx(7 * once.median, rel=0.07)
    assert brighter.mean == pytest.approx(7 * once.mean, rel=1e-4)
    assert once.per_change == 0


def test_nothing_but_air_has_no_summary() -> None:
    tally = UncertaintyTally(Modality.PET)
    tally.add(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), np.zeros((1, 4, 4)))
    assert tally.summary() is None
