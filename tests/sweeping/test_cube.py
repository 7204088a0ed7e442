"""A space as a unit cube."""

from __future__ import annotations

import pytest

from amir.config import Axis
from amir.sweeping.cube import Point, coordinates, spread
from amir.sweeping.spaces import draw

SPACE = {
    "model.top_k": Axis(lower=1, upper="model.experts"),
    "model.experts": Axis(lower=2, upper=5),
    "model.instructions": Axis(values=(4, 8, 64)),
    "loss.balance_weight": Axis(lower=1e-4, upper=1e-2, log=True),
}


def test_the_middle_of_the_cube_is_the_middle_of_every_axis() -> None:
    middle = draw(SPACE, {}, Point(dict.fromkeys(SPACE, 0.5)))
    assert middle == {
        "model.top_k": 3,  # of 1 to 4
        "model.experts": 4,
        "model.instructions": 8,
        "loss.balance_weight": pytest.approx(1e-3),
    }


def test_each_whole_number_has_the_same_share_of_its_axis() -> None:
    drawn = [Point({"m": place / 400}).suggest_int("m", 2, 5) for place in range(400)]
    assert [drawn.count(number) for number in (2, 3, 4, 5)] == [100] * 4


def test_settings_stand_where_their_values_do() -> None:
    parameters = {
        "model.top_k": 3,
        "model.experts": 5,
        "model.instructions": 8,
        "loss.balance_weight": 1e-3,
    }
    assert coordinates(SPACE, {}, parameters) == pytest.approx([0.5, 1, 0.5, 0.5])


def test_more_settings_begin_with_the_fewer() -> None:
    fewer, more = (spread(SPACE, {}, count, seed=3) for count in (5, 20))
    assert more[:5] == fewer
    assert all(found["model.top_k"] <= found["model.experts"] for found in more)
    assert len({str(found) for found in more}) == 20
