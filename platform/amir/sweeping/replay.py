"""Searches replayed on curves that are known: what each would have found for how many steps.

A search chooses among the settings that were trained, each once. Nothing is trained.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from amir.command_line import flatten
from amir.config import SweepSettings
from amir.sweeping.cube import coordinates
from amir.sweeping.curves import Curve
from amir.sweeping.record import Rung, Trial
from amir.sweeping.sources import Tpe

Values = NDArray[np.float64]
Stops = Callable[[int, Rung], bool]  # number of a trial and what it found: whether it ends there


class Chooser(Protocol):
    """Chooses the next curve, and is told how far it came and what it found there."""

    def choose(self) -> int | None:
        """The number of a curve not chosen before; None where there is no other."""
        ...

    def tell(self, number: int, last: Rung | None) -> None: ...


class Chance:
    """Any order is as likely as any other."""

    def __init__(self, curves: Sequence[Curve], *, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(curves))
        self.left = iter([curves[k].number for k in order])

    def choose(self) -> int | None:
        return next(self.left, None)

    def tell(self, number: int, last: Rung | None) -> None: ...


class Nearest:
    """The sweep's TPE: of what was trained, the settings nearest to those it asks for.

    Near in the unit cube of the space. TPE is told what came of the settings it was given in place
    of its own, so it never learns anything that was not trained.
    """

    def __init__(self, settings: SweepSettings, curves: Sequence[Curve], *, seed: int) -> None:
        self.space, self.common = settings.space, flatten(settings.train)
        self.tpe = Tpe(settings.model_copy(update={"seed": seed}), self.common, ())
        self.curves = {curve.number: curve for curve in curves}
        self.left = {curve.number: self._place(curve.parameters) for curve in curves}
        self.asked = 0

    def choose(self) -> int | None:
        if not self.left:
            return None
        wish = self._place(self.tpe.draw(self.asked))
        self.tpe.tell(self.asked, None)
        self.asked += 1
        found = min(self.left, key=lambda number: np.square(self.left[number] - wish).sum())
        del self.left[found]
        return found

    def tell(self, number: int, last: Rung | None) -> None:
        rungs = [] if last is None else [last]
        known = Trial(number, self.curves[number].parameters, seed=0, rungs=rungs)
        known.state = "finished" if rungs else "failed"
        self.tpe.recall(known)

    def _place(self, parameters: Mapping[str, Any]) -> Values:
        return coordinates(self.space, self.common, parameters)


def search(
    curves: Sequence[Curve], chooser: Chooser, stops: Stops, *, at_once: int = 1
) -> Iterator[tuple[int, Rung]]:
    """The validations of a search as they come: steps spent by all trainings until then, and what
    was found.

    Every step takes as long as any other. at_once: trainings under way at a time.
    """
    of = {curve.number: curve for curve in curves}
    running: list[tuple[int, int, int]] = []  # when it is validated next, which curve and rung
    clock = spent = 0
    while True:
        while len(running) < at_once and (number := _next(chooser, of)) is not None:
            heapq.heappush(running, (clock + of[number].rungs[0].step, number, 0))
        if not running:
            return
        clock, number, k = heapq.heappop(running)
        rungs = of[number].rungs
        spent += rungs[k].step - (rungs[k - 1].step if k else 0)
        yield spent, rungs[k]
        if stops(number, rungs[k]) or k + 1 == len(rungs):
            chooser.tell(number, rungs[k])
        else:
            further = rungs[k + 1].step - rungs[k].step
            heapq.heappush(running, (clock + further, number, k + 1))


def best_so_far(found: Iterable[tuple[int, Rung]], marks: Sequence[int]) -> Values:
    """The largest objective found for at most so many steps, at each mark; NaN before the first.

    marks: steps, ascending. No more is replayed than the last mark needs.
    """
    best = np.full(len(marks), np.nan)
    for spent, rung in found:
        if spent > marks[-1]:
            break
        best[np.searchsorted(marks, spent) :] = np.fmax(
            best[np.searchsorted(marks, spent) :], rung.objective
        )
    return best


def _next(chooser: Chooser, of: Mapping[int, Curve]) -> int | None:
    """The next curve with a validation; the others diverged before they cost anything."""
    while (number := chooser.choose()) is not None and not of[number].rungs:
        chooser.tell(number, None)
    return number
