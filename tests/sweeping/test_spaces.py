"""What a sweep draws: within bounds, constraints held, the same again where it must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amir.command_line import flatten, validate
from amir.config import SweepSettings
from amir.errors import InputError
from amir.sweeping.record import Rung, Trial
from amir.sweeping.sources import Tpe, source_of
from amir.sweeping.spaces import check_space, draw, grid, random_draw, trial_settings, undrawn

ROUTING = {
    "model.top_k": {"lower": 1, "upper": "model.experts"},
    "model.experts": {"values": [2, 4, 8]},
    "loss.balance_weight": {"lower": 1e-4, "upper": 1e-1, "log": True, "points": 4},
    "model.routing": {"values": ["published", "paper"]},
}
TRAIN = {"data": {"path": "data"}, "steps": 100, "validation": {"every": 10}}
Sweep = Callable[..., SweepSettings]


@pytest.fixture
def sweep() -> Sweep:
    def make(space: dict[str, Any] = ROUTING, **chosen: Any) -> SweepSettings:
        common = {"name": "routing", "trials": 24, "train": dict(TRAIN)}
        return validate(SweepSettings, {**common, "space": space, **chosen})

    return make


def points(settings: SweepSettings, count: int) -> list[dict[str, Any]]:
    source = source_of(settings)
    drawn = [source.draw(number) for number in range(count)]
    return [point for point in drawn if point is not None]


@pytest.mark.parametrize("search", ["tpe", "random", "grid"])
def test_no_more_experts_see_a_pixel_than_there_are(sweep: Sweep, search: str) -> None:
    settings = sweep(search=search, trials=60)
    check_space(settings)
    for point in points(settings, 60):
        assert 1 <= point["model.top_k"] <= point["model.experts"]
        assert 1e-4 <= point["loss.balance_weight"] <= 1e-1
        trial = trial_settings(settings.train, point)
        assert trial.model.routing == point["model.routing"]
        assert trial.steps == 100


def test_a_bound_may_name_a_setting_that_is_not_swept(sweep: Sweep) -> None:
    settings = sweep({"model.top_k": {"lower": 1, "upper": "model.experts"}}, search="grid")
    assert [point["model.top_k"] for point in points(settings, 9)] == [1, 2, 3, 4]


def test_a_grid_has_every_point_once(sweep: Sweep) -> None:
    settings = sweep(search="grid")
    found = grid(settings.space, flatten(settings.train))
    assert len(found) == len({tuple(point.values()) for point in found}) == (2 + 4 + 8) * 4 * 2
    assert list(found[0]) == list(ROUTING)


def test_a_random_trial_is_the_same_whatever_came_before(sweep: Sweep) -> None:
    settings = sweep(search="random")
    drawn = points(settings, 8)
    known = [Trial(number, drawn[number], seed=0) for number in range(7)]
    assert source_of(settings, known).draw(9) == drawn[7] != drawn[6]


def test_what_was_drawn_can_be_drawn_again(sweep: Sweep) -> None:
    settings = sweep()
    point = draw(settings.space, flatten(settings.train), random_draw(0, 3))
    raw = undrawn(settings.space, point)
    assert raw["model.experts"] == [2, 4, 8].index(point["model.experts"])
    assert raw["loss.balance_weight"] == point["loss.balance_weight"]


def test_tpe_goes_on_with_what_an_earlier_start_found(sweep: Sweep) -> None:
    settings = sweep()
    done = [
        Trial(number, point, seed=0, state="stopped", rungs=[Rung(1, -number, 0.0, {}, 1.0)])
        for number, point in enumerate(points(settings, 3))
    ]
    under_way = Trial(3, source_of(settings, done).draw(3) or {}, seed=0)
    source = Tpe(settings, flatten(settings.train), [*done, under_way])
    assert [trial.value for trial in source.study.trials] == [0.0, -1.0, -2.0, None]
    assert undrawn(settings.space, under_way.parameters) == source.study.trials[3].params
    source.tell(3, 5.0)
    assert source.study.best_value == 5.0
    assert source.draw(4) not in [trial.parameters for trial in done]


def test_tpe_finds_the_good_end_of_an_axis(sweep: Sweep) -> None:
    settings = sweep(ROUTING | {"loss.balance_weight": {"lower": 0.0, "upper": 1.0}})
    source = source_of(settings)
    misses = []
    for number in range(50):
        point = source.draw(number)
        assert point is not None
        misses.append(abs(point["loss.balance_weight"] - 0.8))
        source.tell(number, -misses[-1])
    assert sum(miss < 0.2 for miss in misses[40:]) >= 7


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({"model.depth": {"values": [1]}}, r"model\.depth is no setting of a training; known are"),
        ({"seed": {"values": [1, 2]}}, "seed is the same in every trial; set it under train"),
        ({"workers.cpus": {"values": [1]}}, r"workers\.cpus is the same in every trial"),
        ({"model.dim": {"values": [1, 8]}}, r"the space allows model\.dim 1: model\.dim is 1"),
        ({"model.top_k": {"values": [5]}}, "top_k is 5, more than the 4 experts"),
        (
            {
                "model.top_k": {"lower": 1, "upper": "model.experts"},
                "model.experts": {"lower": 1, "upper": "model.top_k"},
            },
            "bound each other in a circle",
        ),
    ],
)
def test_a_space_that_cannot_be_searched_is_named(
    sweep: Sweep, space: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        check_space(sweep(space))


def test_a_grid_of_a_range_needs_points(sweep: Sweep) -> None:
    space = {"loss.balance_weight": {"lower": 0.1, "upper": 0.2}}
    with pytest.raises(InputError, match=r"how many points loss\.balance_weight has"):
        check_space(sweep(space, search="grid"))


@pytest.mark.parametrize(
    ("axis", "sentence"),
    [
        ({}, "give either values, or lower and upper"),
        ({"lower": 1}, "give either values, or lower and upper"),
        ({"values": [1], "lower": 1, "upper": 2}, "give either values, or lower and upper"),
        ({"values": []}, "an empty list"),
        ({"lower": 2, "upper": 1}, "lower is 2, above upper, 1"),
        ({"lower": 0, "upper": 1, "log": True}, "which has no logarithm"),
        ({"lower": 0.5, "upper": "model.experts"}, "is for whole numbers"),
    ],
)
def test_an_axis_is_a_list_or_a_range(sweep: Sweep, axis: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        sweep({"model.experts": axis})
