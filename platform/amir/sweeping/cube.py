"""A space of settings as a unit cube: points of it to settings, and how far settings are apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.config import Axis

Space = Mapping[str, Axis]
Parameters = Mapping[str, Any]


def spread(space: Space, count: int, *, seed: int) -> list[dict[str, Any]]:
    """The first `count` settings of a scrambled Sobol sequence, which fills the space evenly.

    A longer sequence begins with the shorter one.
    """
    from scipy.stats.qmc import Sobol

    points = Sobol(len(space), scramble=True, rng=seed).random_base2(max(1, count - 1).bit_length())
    return [settings_at(space, point) for point in points[:count]]


def settings_at(space: Space, point: Sequence[float]) -> dict[str, Any]:
    """The settings at a point of the unit cube; one coordinate for each axis, in their order."""
    places = dict(zip(space, point, strict=True))
    found: dict[str, Any] = {}
    for name in _bounds_first(space):
        found[name] = _value(space[name], places[name], _upper(space[name], found))
    return {name: found[name] for name in space}


def coordinates(space: Space, parameters: Parameters) -> NDArray[np.float64]:
    """Where settings stand along each axis, from 0 to 1; [axes]. Listed values are evenly apart."""
    widest = {name: _widest(space, axis) for name, axis in space.items()}
    return np.array(
        [_place(axis, parameters[name], widest[name]) for name, axis in space.items()], np.float64
    )


def _bounds_first(space: Space) -> Iterator[str]:
    """The names, those last whose upper bound is another setting."""
    yield from sorted(space, key=lambda name: isinstance(space[name].upper, str))


def _upper(axis: Axis, found: Parameters) -> float:
    return float(found[axis.upper] if isinstance(axis.upper, str) else axis.upper or 0)


def _widest(space: Space, axis: Axis) -> float:
    """The upper bound, or the largest that it can be."""
    if not isinstance(axis.upper, str):
        return float(axis.upper or 0)
    other = space[axis.upper]
    return float(max(other.values) if other.values else _widest(space, other))


def _value(axis: Axis, place: float, upper: float) -> Any:
    if axis.values is not None:
        return axis.values[min(int(place * len(axis.values)), len(axis.values) - 1)]
    lower = axis.lower or 0
    if isinstance(lower, int):  # each whole number has a cell of its own around it
        cells = _between(axis, lower - 0.5, upper + 0.5, place)
        return int(min(max(math.floor(cells + 0.5), lower), upper))
    return _between(axis, lower, upper, place)


def _between(axis: Axis, lower: float, upper: float, place: float) -> float:
    if not axis.log:
        return lower + place * (upper - lower)
    return math.exp(math.log(lower) + place * (math.log(upper) - math.log(lower)))


def _place(axis: Axis, value: Any, upper: float) -> float:
    if axis.values is not None:
        return axis.values.index(value) / max(1, len(axis.values) - 1)
    lower = float(axis.lower or 0)
    if upper == lower:
        return 0.0
    if axis.log:
        return math.log(value / lower) / math.log(upper / lower)
    return float((value - lower) / (upper - lower))
