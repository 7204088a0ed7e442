"""What a summary page is about: a sweep, its space, and how its trials stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.command_line import flatten, validate
from amir.config import Axis, SweepSettings
from amir.sweeping.cube import coordinates, widest
from amir.sweeping.influence import seed_spread
from amir.sweeping.record import Sweep, Trial
from amir.sweeping.standing import rung_at, rung_steps, standing

Values = NDArray[np.float64]
MANY = 10  # whole numbers on an axis: more are not marked one by one


@dataclass(frozen=True)
class Subject:
    """A sweep with its settings as they were validated."""

    sweep: Sweep
    settings: SweepSettings

    @cached_property
    def rungs(self) -> list[int]:
        return rung_steps(self.settings)

    @cached_property
    def ranking(self) -> list[Trial]:
        """Validated trials of the search, the best first."""
        return standing(self.sweep, self.rungs)

    @cached_property
    def common(self) -> dict[str, Any]:
        return flatten(self.settings.train)

    @property
    def tasks(self) -> list[str]:
        return [str(task) for task in self.settings.train.data.tasks]

    def reached(self, step: int) -> list[Trial]:
        """Trials of the search that were validated at a rung."""
        return [trial for trial in self.sweep.search if rung_at(trial, step) is not None]

    def places(self, trials: Sequence[Trial]) -> Values:
        """[trials, settings], from 0 to 1."""
        return np.array([self.place(trial) for trial in trials]).reshape(len(trials), -1)

    def place(self, trial: Trial) -> Values:
        return coordinates(self.settings.space, self.common, trial.parameters)

    def gains(self, trials: Sequence[Trial], step: int) -> Values:
        """Objective of each at a rung it has reached, dB."""
        found = [rung_at(trial, step) for trial in trials]
        return np.array([np.nan if rung is None else rung.objective for rung in found])

    def repeated(self) -> Iterator[tuple[Trial, list[Trial]]]:
        """Trials that were trained again with other seeds, the best first, and the repetitions."""
        for trial in self.ranking:
            again = [t for t in self.sweep.confirmations(trial.number) if t.state == "finished"]
            if again:
                yield trial, again

    def seed_spread(self) -> float | None:
        """Standard deviation of the gain over fresh seeds, dB."""
        return seed_spread([[t.rungs[-1].objective for t in again] for _, again in self.repeated()])


def subject_of(sweep: Sweep) -> Subject:
    return Subject(sweep, validate(SweepSettings, sweep.about["settings"]))


def marks(subject: Subject, axis: Axis) -> list[tuple[float, str]]:
    """Where an axis has its numbers, from 0 to 1, and how they are written."""
    if axis.values is not None:
        last = max(1, len(axis.values) - 1)
        return [(k / last, written(value)) for k, value in enumerate(axis.values)]
    lower = float(axis.lower or 0)
    upper = widest(subject.settings.space, subject.common, axis)
    if isinstance(axis.lower, int) and not axis.log and upper - lower <= MANY:
        numbers = np.arange(lower, upper + 1)
    elif axis.log:
        decades = np.arange(np.ceil(np.log10(lower) - 1e-9), np.floor(np.log10(upper) + 1e-9) + 1)
        numbers = np.unique([lower, *(10.0**decades), upper])
    else:
        numbers = np.linspace(lower, upper, 5)
    if upper == lower:
        return [(0.0, written(lower))]
    span = np.log(numbers / lower) / np.log(upper / lower) if axis.log else None
    places = (numbers - lower) / (upper - lower) if span is None else span
    return [(float(p), written(float(n))) for p, n in zip(places, numbers, strict=True)]


def is_continuous(subject: Subject, axis: Axis) -> bool:
    """Whether an axis has more values than can be told apart in a figure."""
    if axis.values is not None:
        return False
    whole = isinstance(axis.lower, int)
    return (
        not whole or widest(subject.settings.space, subject.common, axis) - (axis.lower or 0) > MANY
    )


def value_at(subject: Subject, axis: Axis, place: float) -> Any:
    """The value that stands at a place of an axis, from 0 to 1."""
    if axis.values is not None:
        return axis.values[round(place * (len(axis.values) - 1))]
    lower = float(axis.lower or 0)
    upper = widest(subject.settings.space, subject.common, axis)
    value = lower * (upper / lower) ** place if axis.log else lower + place * (upper - lower)
    return round(value) if isinstance(axis.lower, int) else value


def written(value: Any) -> str:
    """A value as short as it can be."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def short(name: str) -> str:
    """A setting without its section: what a figure has room for."""
    return name.rpartition(".")[2]
