"""Searches replayed on three curves, against what was worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from amir.config import Axis, DataSettings, StudySettings, TrainSettings
from amir.sweeping.comparison import Comparison, compare, halving
from amir.sweeping.comparison_view import comparison_table, draw_comparison
from amir.sweeping.curves import Curve
from amir.sweeping.record import Rung
from amir.sweeping.replay import Chance, Nearest, best_so_far, search

RATES = (1e-4, 1e-3, 1e-2, 1e-1)


def curve(number: int, *objectives: float) -> Curve:
    """Validated at steps 1, 3 and 9."""
    rungs = [
        Rung(step, found, found, {"CT": found}, float(step))
        for step, found in zip((1, 3, 9), objectives, strict=False)
    ]
    return Curve(number, {"optimizer.learning_rate": RATES[number]}, tuple(rungs))


GOOD, BAD, LATE = curve(0, 1.0, 2.0, 3.0), curve(1, 0.0, 0.5, 1.0), curve(2, 0.5, 1.0, 4.0)
CURVES = [GOOD, BAD, LATE]


class InOrder:
    """Chooses the curves as they are listed, and keeps what it is told."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        self.left = iter([one.number for one in curves])
        self.told: dict[int, float | None] = {}

    def choose(self) -> int | None:
        return next(self.left, None)

    def tell(self, number: int, last: Rung | None) -> None:
        self.told[number] = None if last is None else last.objective


@pytest.fixture
def settings(tmp_path: object) -> StudySettings:
    return StudySettings(
        name="tiny",
        train=TrainSettings(
            data=DataSettings(path="nowhere"), steps=9, validation={"every": 1, "slices": 1}
        ),
        space={"optimizer.learning_rate": Axis(lower=1e-4, upper=1e-1, log=True)},
        replays=4,
        budget=1.0,
    )


def never(number: int, rung: Rung) -> bool:
    return False


def test_without_stopping_every_curve_costs_its_steps() -> None:
    found = list(search(CURVES, InOrder(CURVES), never))
    assert [spent for spent, _ in found] == [1, 3, 9, 10, 12, 18, 19, 21, 27]
    assert best_so_far(found, (1, 2, 3, 9, 18, 26, 27)).tolist() == [1, 1, 2, 3, 3, 3, 4]


def test_before_anything_is_validated_nothing_is_found() -> None:
    slow = [Curve(0, GOOD.parameters, GOOD.rungs[1:])]
    found = best_so_far(search(slow, InOrder(slow), never), (1, 3))
    assert math.isnan(found[0])
    assert found[1] == 2


def test_halving_stops_what_is_below_the_best_third(settings: StudySettings) -> None:
    chooser = InOrder(CURVES)
    found = list(search(CURVES, chooser, halving(settings)))
    # GOOD meets nobody and goes to its end. BAD at step 1 is below the cutoff, GOOD's 1.0. LATE's
    # 0.5 is below the 67th percentile of (1.0, 0.0), 0.67: what would have been the best is lost.
    assert [(spent, rung.objective) for spent, rung in found] == [
        (1, 1.0),
        (3, 2.0),
        (9, 3.0),
        (10, 0.0),
        (11, 0.5),
    ]
    assert chooser.told == {0: 3.0, 1: 0.0, 2: 0.5}


def test_two_at_a_time_are_validated_in_turn(settings: StudySettings) -> None:
    chooser = InOrder(CURVES)
    found = list(search(CURVES, chooser, halving(settings), at_once=2))
    # GOOD and BAD both reach step 1; BAD is stopped, LATE begins there and is stopped at 2.
    assert [rung.objective for _, rung in found] == [1.0, 0.0, 0.5, 2.0, 3.0]
    assert [spent for spent, _ in found] == [1, 2, 3, 5, 11]


def test_what_diverged_before_its_first_validation_costs_nothing() -> None:
    curves = [Curve(0, GOOD.parameters, (), diverged=True), BAD]
    chooser = InOrder(curves)
    assert [spent for spent, _ in search(curves, chooser, never)] == [1, 3, 9]
    assert chooser.told == {0: None, 1: 1.0}


def test_chance_chooses_each_once() -> None:
    chooser = Chance(CURVES, seed=1)
    chosen = [chooser.choose() for _ in range(4)]
    assert set(chosen[:3]) == {0, 1, 2}
    assert chosen[3] is None


def test_tpe_is_given_what_is_nearest_to_its_wish(
    settings: StudySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chooser = Nearest(settings, CURVES, seed=0)
    wishes = iter([9e-4, 2e-3, 5e-2])
    monkeypatch.setattr(
        chooser.tpe, "draw", lambda number: {"optimizer.learning_rate": next(wishes)}
    )
    monkeypatch.setattr(chooser.tpe, "tell", lambda number, objective: None)
    # 2e-3 is nearest to 1e-3 on the logarithm, which is taken by then.
    assert [chooser.choose() for _ in range(4)] == [1, 2, 0, None]


def test_tpe_learns_from_the_settings_it_was_given(settings: StudySettings) -> None:
    chooser = Nearest(settings, CURVES, seed=0)
    number = chooser.choose()
    assert number is not None
    chooser.tell(number, CURVES[number].rungs[-1])
    complete = [trial for trial in chooser.tpe.study.trials if trial.values]
    assert [(trial.params, trial.value) for trial in complete] == [
        (CURVES[number].parameters, CURVES[number].rungs[-1].objective)
    ]


def test_every_search_finds_the_best_there_is_in_the_end(settings: StudySettings) -> None:
    found = compare(settings, CURVES)
    assert (found.full, found.there_is, found.marks[-1]) == (27, 4.0, 27)
    assert found.best["random"][:, -1].tolist() == [4.0] * 4
    assert found.best["TPE"][:, -1].tolist() == [4.0] * 4


def test_equal_searches_are_a_tie_and_better_ones_are_ahead() -> None:
    low = np.tile([1.0, 2.0], (20, 1))
    best = {"random": low, "TPE": low + 0.2, "ASHA": low}
    found = Comparison(range(10, 30, 10), best, full=40, there_is=2.2)
    assert found.lead("TPE", 1) == pytest.approx((0.2, 0.2, 0.2))
    assert found.steps_to_the_best("TPE").tolist() == [20.0] * 20
    assert np.isinf(found.steps_to_the_best("random")).all()
    table = comparison_table(found)
    assert "| TPE over random | +0.20 (+0.20 to +0.20), ahead |" in table
    assert "| ASHA over random | +0.00 (+0.00 to +0.00), tie |" in table
    assert "median of 20 replays" in draw_comparison(found).caption
