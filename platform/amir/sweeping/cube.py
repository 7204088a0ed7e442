"""A space of settings as a unit cube: points of it to settings, and how far settings are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.config import Axis
from amir.sweeping.spaces import Parameters, Space, draw, undrawn


def spread(space: Space, common: Mapping[str, Any], count: int, *, seed: int) -> list[Parameters]:
    """The first `count` settings of a scrambled Sobol sequence, which fills the space evenly.

    A longer sequence begins with the shorter one. common: dotted settings that are not swept.
    """
    from scipy.stats.qmc import Sobol

    power = max(1, count - 1).bit_length()  # the sequence is even in parts of 2^k
    points = Sobol(len(space), scramble=True, rng=seed).random_base2(power)[:count]
    return [draw(space, common, Point(dict(zip(space, point, strict=True)))) for point in points]


class Point:
    """A draw that is no chance: each value by its place between 0 and 1."""

    def __init__(self, places: Mapping[str, float]) -> None:
        self.places = places

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Each whole number has a cell of its own around it."""
        place = _between(low - 0.5, high + 0.5, self.places[name], log=log)
        return min(max(math.floor(place + 0.5), low), high)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return _between(low, high, self.places[name], log=log)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[min(int(self.places[name] * len(choices)), len(choices) - 1)]


def coordinates(
    space: Space, common: Mapping[str, Any], parameters: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Where settings stand along each axis, from 0 to 1; [axes]. Listed values are evenly apart."""
    drawn = undrawn(space, parameters)
    return np.array(
        [_place(axis, drawn[name], widest(space, common, axis)) for name, axis in space.items()],
        np.float64,
    )


def widest(space: Space, common: Mapping[str, Any], axis: Axis) -> float:
    """The upper bound of an axis, or the largest that it can be."""
    if not isinstance(axis.upper, str):
        return float(axis.upper or 0)
    other = space.get(axis.upper)
    if other is None:
        return float(common[axis.upper])
    return float(max(other.values) if other.values else widest(space, common, other))


def _between(lower: float, upper: float, place: float, *, log: bool) -> float:
    if not log:
        return lower + place * (upper - lower)
    return math.exp(math.log(lower) + place * (math.log(upper) - math.log(lower)))


def _place(axis: Axis, drawn: float, upper: float) -> float:
    if axis.values is not None:
        return drawn / max(1, len(axis.values) - 1)
    lower = float(axis.lower or 0)
    if upper == lower:
        return 0.0
    if axis.log:
        return math.log(drawn / lower) / math.log(upper / lower)
    return (drawn - lower) / (upper - lower)
