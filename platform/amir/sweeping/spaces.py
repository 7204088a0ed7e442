"""The settings a sweep may try, keyed by their dotted names; constraints hold in all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from amir.command_line import flatten, set_dotted, validate
from amir.config import Axis, SweepSettings, TrainSettings
from amir.errors import InputError

Parameters = dict[str, Any]
Space = Mapping[str, Axis]
NOT_SWEPT = ("storage", "run", "steps", "seed", "workers.", "tracking.", "validation.", "data.path")
SAMPLES = 200  # drawn before the start, so that no trial fails by settings that do not fit


class Draw(Protocol):
    """What Optuna's trials offer."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


def draw(space: Space, common: Mapping[str, Any], source: Draw) -> Parameters:
    """One point of the space, an axis that depends on another after it.

    common: dotted settings that are not swept, for bounds that name one of them.
    """
    drawn: Parameters = {}
    for name in in_order(space):
        axis = space[name]
        if axis.values is not None:
            drawn[name] = axis.values[_draw_place(name, axis.values, source)]
        else:
            drawn[name] = _draw_between(name, axis, _upper(axis, {**common, **drawn}), source)
    return {name: drawn[name] for name in space}


def undrawn(space: Space, parameters: Mapping[str, Any]) -> Parameters:
    """What a source must draw for these parameters to come out: the inverse of `draw`."""
    return {
        name: value if axis.values is None else _place(axis.values, value)
        for name, axis in space.items()
        for value in [parameters[name]]
    }


def grid(space: Space, common: Mapping[str, Any]) -> list[Parameters]:
    """Every point, the last axis changing fastest; a bound that names a setting holds in each."""
    points: list[Parameters] = [{}]
    for name in in_order(space):
        points = [
            {**point, name: value}
            for point in points
            for value in _marks(name, space[name], {**common, **point})
        ]
    return [{name: point[name] for name in space} for point in points]


def trial_settings(common: TrainSettings, parameters: Mapping[str, Any]) -> TrainSettings:
    """The settings of a training with these in place of the common ones."""
    tree = common.model_dump()
    for name, value in parameters.items():
        set_dotted(tree, name, value)
    return validate(TrainSettings, tree)


def check_space(settings: SweepSettings) -> None:
    """InputError if an axis is of no setting, or leads to settings that do not fit each other."""
    common = flatten(settings.train)
    for name, axis in settings.space.items():
        _check_name(name, common)
        if isinstance(axis.upper, str):
            _check_name(axis.upper, common)
        if settings.search == "grid" and axis.values is None:
            _check_can_be_listed(name, axis)
    for point in _samples(settings, common):
        try:
            trial_settings(settings.train, point)
        except InputError as error:
            told = ", ".join(f"{name} {value}" for name, value in point.items())
            raise InputError(error.code, f"the space allows {told}: {error}") from None


def in_order(space: Space) -> list[str]:
    """The axes, each after the one that bounds it."""
    ordered: list[str] = []
    while len(ordered) < len(space):
        ready = [
            name
            for name, axis in space.items()
            if name not in ordered and (axis.upper not in space or axis.upper in ordered)
        ]
        if not ready:
            circle = ", ".join(name for name in space if name not in ordered)
            raise InputError("invalid_setting", f"space: {circle} bound each other in a circle")
        ordered += ready
    return ordered


def random_draw(seed: int, number: int) -> Draw:
    """The same draw for the same numbers, whatever was drawn before."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mixed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    source: Draw = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=mixed)).ask()
    return source


def _draw_place(name: str, values: tuple[Any, ...], source: Draw) -> int:
    """Numbers are drawn by their place in the list, so that neighbours are known as such."""
    if _are_numbers(values):
        return source.suggest_int(name, 0, len(values) - 1)
    return int(source.suggest_categorical(name, tuple(range(len(values)))))


def _draw_between(name: str, axis: Axis, upper: float, source: Draw) -> float:
    assert axis.lower is not None
    if isinstance(axis.lower, int) and isinstance(upper, int):
        return source.suggest_int(name, axis.lower, upper, log=axis.log)
    return source.suggest_float(name, axis.lower, upper, log=axis.log)


def _upper(axis: Axis, known: Mapping[str, Any]) -> float:
    bound = known[axis.upper] if isinstance(axis.upper, str) else axis.upper
    assert isinstance(bound, int | float)
    return bound


def _marks(name: str, axis: Axis, known: Mapping[str, Any]) -> Iterator[Any]:
    if axis.values is not None:
        yield from axis.values
        return
    lower, upper = axis.lower, _upper(axis, known)
    assert lower is not None
    whole = isinstance(lower, int) and isinstance(upper, int)
    if axis.points is None:
        yield from range(int(lower), int(upper) + 1)
        return
    spaced = np.geomspace if axis.log else np.linspace
    marks = spaced(lower, upper, axis.points).tolist()
    yield from dict.fromkeys(map(round, marks)) if whole else marks


def _samples(settings: SweepSettings, common: Mapping[str, Any]) -> list[Parameters]:
    if settings.search == "grid":
        return grid(settings.space, common)
    return [
        draw(settings.space, common, random_draw(settings.seed, number))
        for number in range(SAMPLES)
    ]


def _check_name(name: str, common: Mapping[str, Any]) -> None:
    if name not in common:
        raise InputError(
            "invalid_setting",
            f"space: {name} is no setting of a training; known are {', '.join(common)}",
        )
    if any(
        name == other or (other.endswith(".") and name.startswith(other)) for other in NOT_SWEPT
    ):
        raise InputError(
            "invalid_setting", f"space: {name} is the same in every trial; set it under train"
        )


def _check_can_be_listed(name: str, axis: Axis) -> None:
    whole = isinstance(axis.lower, int) and not isinstance(axis.upper, float)
    if axis.points is None and not whole:
        raise InputError(
            "invalid_setting",
            f"space: a grid needs to know how many points {name} has: give points, or values",
        )


def _place(values: tuple[Any, ...], value: Any) -> int:
    """Where a value stands; one that went through JSON has lists in place of tuples."""
    as_json = [list(v) if isinstance(v, tuple) else v for v in values]
    return as_json.index(list(value) if isinstance(value, tuple) else value)


def _are_numbers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
