"""Where the settings of the next trial come from: a list, chance, or what was found so far."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol

from amir.command_line import flatten
from amir.config import SweepSettings
from amir.sweeping.record import Trial
from amir.sweeping.spaces import Parameters, draw, grid, random_draw, undrawn


class Source(Protocol):
    """Told in the end what came of each of its points."""

    def draw(self, number: int) -> Parameters | None:
        """The parameters of trial `number`; None where there are no more."""
        ...

    def tell(self, number: int, objective: float | None) -> None:
        """objective: the last one of the trial; None if it failed."""
        ...


def source_of(settings: SweepSettings, known: Sequence[Trial] = ()) -> Source:
    """As set, knowing the trials of an earlier start of the same sweep."""
    common = flatten(settings.train)
    if settings.search == "grid":
        return Listed(grid(settings.space, common), done=len(known))
    if settings.search == "random":
        return Random(settings, common, done=len(known))
    return Tpe(settings, common, known)


class Listed:
    """One point after another; nothing is learned."""

    def __init__(self, points: Sequence[Parameters], *, done: int = 0) -> None:
        self.points = iter(points[done:])

    def draw(self, number: int) -> Parameters | None:
        return next(self.points, None)

    def tell(self, number: int, objective: float | None) -> None: ...


class Random:
    """The k-th trial is the same however often the sweep was started."""

    def __init__(self, settings: SweepSettings, common: Parameters, *, done: int = 0) -> None:
        self.settings, self.common, self.places = settings, common, count(done)

    def draw(self, number: int) -> Parameters:
        chance = random_draw(self.settings.seed, next(self.places))
        return draw(self.settings.space, self.common, chance)

    def tell(self, number: int, objective: float | None) -> None: ...


class Tpe:
    """Optuna's tree-structured Parzen estimator, which asks for points where the best ones lie.

    Trials under way count as bad, so that those beside them look elsewhere.
    """

    def __init__(self, settings: SweepSettings, common: Parameters, known: Sequence[Trial]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.settings, self.common = settings, common
        # Anew from the seed alone, a sweep that goes on would draw its first points again.
        sampler = optuna.samplers.TPESampler(seed=settings.seed + len(known), constant_liar=True)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.asked: dict[int, Any] = {}
        for trial in known:
            self.recall(trial)

    def draw(self, number: int) -> Parameters:
        self.asked[number] = self.study.ask()
        return draw(self.settings.space, self.common, self.asked[number])

    def tell(self, number: int, objective: float | None) -> None:
        from optuna.trial import TrialState

        state = TrialState.FAIL if objective is None else TrialState.COMPLETE
        self.study.tell(self.asked.pop(number), objective, state=state)

    def recall(self, trial: Trial) -> None:
        """Learn from a trial that was not drawn here."""
        self.study.enqueue_trial(undrawn(self.settings.space, trial.parameters))
        self.draw(trial.number)
        if trial.state in ("finished", "stopped"):
            self.tell(trial.number, trial.objective)
        elif trial.state == "failed" and trial.lasting:
            self.tell(trial.number, None)
