"""How trials stand that were not all trained for as long: rungs, and who is ahead of whom."""

from __future__ import annotations

from collections.abc import Sequence

from amir.config import SweepSettings
from amir.sweeping.record import Rung, Sweep, Trial


def rung_steps(settings: SweepSettings) -> list[int]:
    """Where trials are compared: the rungs of the scheduler, and the end."""
    steps = []
    if settings.scheduler.name == "asha":
        step = settings.grace
        while step < settings.train.steps:
            steps.append(step)
            step *= settings.scheduler.reduction
    return [*steps, settings.train.steps]


def rung_at(trial: Trial, step: int) -> Rung | None:
    """What the first validation at this step or after it found; None before."""
    return next((rung for rung in trial.rungs if rung.step >= step), None)


def furthest(trial: Trial, steps: Sequence[int]) -> int:
    """How many of these rungs the trial has reached."""
    return sum(rung_at(trial, step) is not None for step in steps)


def standing(sweep: Sweep, steps: Sequence[int]) -> list[Trial]:
    """The trials of the search that were validated, the best first.

    Who came to a later rung stands before who did not; at the same one the larger gain decides.
    """
    known = [trial for trial in sweep.search if trial.rungs]
    return sorted(known, key=lambda trial: _place(trial, steps), reverse=True)


def _place(trial: Trial, steps: Sequence[int]) -> tuple[int, float]:
    reached = furthest(trial, steps)
    rung = rung_at(trial, steps[reached - 1]) if reached else None
    return reached, (rung or trial.rungs[-1]).objective
