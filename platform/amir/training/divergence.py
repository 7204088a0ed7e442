"""What is done about a loss that is no number any more, or far too large."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from amir.config import DivergenceSettings

MOST_NAMES = 8


class DivergedError(RuntimeError):
    """The loss is no longer one to go on with; trying again would end in the same way."""


class Losses(Protocol):
    """Of one step."""

    @property
    def step(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def l1(self) -> float: ...
    @property
    def left_out(self) -> Sequence[str]: ...


class Watch:
    """Judges steps by their losses, and names the slices behind a bad one.

    names: of the slices in the batch of an update, counted from 0.
    """

    def __init__(self, settings: DivergenceSettings, names: Callable[[int], Sequence[str]]) -> None:
        self.settings, self.names = settings, names
        self.left_out = 0

    def count(self, step: int, *, taken: bool) -> None:
        """DivergedError at too many steps left out one after another. step: counted from 1."""
        self.left_out = 0 if taken else self.left_out + 1
        if self.left_out >= self.settings.most_skips:
            raise DivergedError(
                f"{self.left_out} steps in a row were left out, the last is step {step} with "
                f"{_listed(self.names(step - 1))}: look at these slices, or start again under "
                "another --run with a lower --optimizer.learning_rate"
            )

    def check(self, reports: Iterable[Losses]) -> None:
        """DivergedError for a step that was taken and should not have been."""
        for report in reports:
            sound = math.isfinite(report.loss) and report.l1 <= self.settings.loss_limit
            if not report.left_out and not sound:
                raise DivergedError(
                    f"the loss is {report.loss:g} at step {report.step}, whose batch was "
                    f"{_listed(self.names(report.step - 1))}: look at these slices, or start again "
                    "under another --run with a lower --optimizer.learning_rate, more "
                    "--optimizer.warmup_steps, --optimizer.clip_norm 1, or --divergence.action skip"
                )


def _listed(names: Sequence[str]) -> str:
    told = ", ".join(names[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f"{told} and {more} more" if more > 0 else told
