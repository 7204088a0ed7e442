"""What settings do to the gain, on gains of which it is known."""

from __future__ import annotations

import numpy as np
import pytest

from amir.sweeping.influence import alike, groups, importance, seed_spread
from amir.sweeping.record import Rung, Sweep, Trial
from amir.sweeping.standing import rung_at, standing


def trial(number: int, *objectives: float) -> Trial:
    """Validated at steps 10, 30 and 90."""
    rungs = [
        Rung(step, found, found, {}, 0.0)
        for step, found in zip((10, 30, 90), objectives, strict=False)
    ]
    return Trial(number, {}, seed=0, rungs=rungs)


def test_who_came_further_stands_before_who_was_stopped(tmp_path: object) -> None:
    trials = [trial(0, 9.0), trial(1, 0.0, 1.0, 2.0), trial(2, 1.0, 5.0), trial(3, 0, 1, 3.0)]
    trials.append(trial(4))
    ranked = standing(Sweep(tmp_path, {}, trials), [10, 30, 90])  # type: ignore[arg-type]
    assert [one.number for one in ranked] == [3, 1, 2, 0]
    assert rung_at(trials[2], 30) == trials[2].rungs[1]
    assert rung_at(trials[2], 90) is None


def test_few_values_are_a_group_each_with_students_interval() -> None:
    places = np.array([0.0, 0.0, 0.0, 1.0, 1.0])
    low, high = groups(places, np.array([1.0, 2.0, 3.0, 7.0, 9.0]), continuous=False)
    # t(0.975, 2) = 4.3027, standard deviation 1 over sqrt(3)
    assert (low.mean, low.half, low.count) == (2.0, pytest.approx(4.3027 / 3**0.5, rel=1e-4), 3)
    assert (high.mean, high.half, high.count) == (8.0, None, 2)


def test_many_values_are_divided_into_equal_parts() -> None:
    places = np.linspace(0, 1, 20)
    found = groups(places[::-1], np.arange(20.0)[::-1], continuous=True)
    assert [group.count for group in found] == [5, 5, 5, 5]
    assert [group.mean for group in found] == [2, 7, 12, 17]
    assert [group.upper for group in found] == pytest.approx([4 / 19, 9 / 19, 14 / 19, 1])


def test_what_matters_stands_out_from_the_noise() -> None:
    chance = np.random.default_rng(0)
    places = chance.random((40, 3))
    found = importance(places, 3 * places[:, 1] + chance.normal(0, 0.1, 40))
    assert found is not None
    (low, high), middle = found.interval(), found.middle()
    assert middle.argmax() == 1
    assert low[1] > high[-1]  # above the column of noise
    assert abs(middle[[0, 2]]).max() < 0.1
    assert np.median(found.explained) > 0.5


def test_nothing_is_said_of_few_trials_or_equal_gains() -> None:
    chance = np.random.default_rng(0)
    assert importance(chance.random((11, 2)), chance.random(11)) is None
    assert importance(chance.random((20, 2)), np.ones(20)) is None


def test_gains_of_pure_noise_are_not_explained() -> None:
    chance = np.random.default_rng(1)
    found = importance(chance.random((30, 2)), chance.normal(size=30))
    assert found is not None
    assert np.median(found.explained) < 0.2


def test_groups_apart_are_told_from_groups_alike() -> None:
    places = np.repeat([0.0, 0.5, 1.0], 8)
    noise = np.tile(np.random.default_rng(0).normal(size=8), 3)
    apart = alike(places, noise + 5 * places, continuous=False)
    together = alike(places, noise, continuous=False)
    assert apart is not None
    assert apart < 0.01
    assert together is not None
    assert together == pytest.approx(1)
    assert alike(np.zeros(8), noise[:8], continuous=False) is None


def test_the_spread_over_seeds_is_pooled() -> None:
    # Squares about the means: 2 and 0.5, over 2 + 1 degrees of freedom.
    assert seed_spread([[1.0, 2.0, 3.0], [4.0, 5.0], [9.0]]) == pytest.approx((2.5 / 3) ** 0.5)
    assert seed_spread([[1.0]]) is None
