"""Steps, validation, checkpoints. No Ray and no MLflow: what happens is told to an observer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from amir.config import TrainSettings
from amir.dataset.reader import Batch
from amir.losses import RestorationLoss
from amir.training.optimizer import learning_rate
from amir.training.state import TrainingState
from amir.training.step import seed_step, to_crops, train_step
from amir.training.validation import Scores

SECONDS_PER_REPORT = 5.0
STEPS_PER_REPORT = 20  # where several workers must come to the same verdict


class DivergedError(RuntimeError):
    """The loss is no longer a number; trying again would end in the same way."""


@dataclass(frozen=True)
class StepReport:
    """One step as it is logged. seconds: of the whole step; waited: of these, for data."""

    step: int
    loss: float
    l1: float
    balance: float
    contrast: float
    learning_rate: float
    seconds: float
    waited: float


class Observer(Protocol):
    """Told on the first worker alone."""

    def steps(self, reports: list[StepReport]) -> None: ...
    def validated(self, step: int, scores: Scores) -> None: ...


def train(
    state: TrainingState,
    batches: Iterable[Batch],
    settings: TrainSettings,
    *,
    device: torch.device,
    rank: int,
    validate: Callable[[], Scores],
    save: Callable[[Scores], None],
    observer: Observer,
) -> None:
    """Train from state.step to settings.steps; `batches` starts at state.step.

    validate is called by every worker at once, and so is save, with scores where there are any.
    """
    recent = _Recent(rank, settings.workers.count, observer)
    state.network.train()
    waiting = time.monotonic()
    for batch in batches:
        waited = time.monotonic() - waiting
        _check_position(batch, state.step)
        rate = learning_rate(state.step, settings.steps, settings.optimizer)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        seed_step(settings.seed, state.step, rank)
        losses = train_step(
            state.network,
            to_crops(batch, device),
            state.optimizer,
            balance_weight=settings.loss.balance_weight,
            contrast=state.contrast,
        )
        state.step += 1
        recent.add(state.step, losses, rate, waited)
        if _due(state.step, settings):
            recent.report()
            _pause(state, settings, validate, save, observer if rank == 0 else None)
            recent.restart()
        waiting = time.monotonic()
    if state.step < settings.steps:
        raise RuntimeError(f"the feed ended after step {state.step} of {settings.steps}")


def _due(step: int, settings: TrainSettings) -> bool:
    every = (settings.validation.every, settings.checkpoints.every, settings.steps)
    return any(step % n == 0 for n in every)


def _pause(
    state: TrainingState,
    settings: TrainSettings,
    validate: Callable[[], Scores],
    save: Callable[[Scores], None],
    observer: Observer | None,
) -> None:
    scores: Scores = {}
    if state.step % settings.validation.every == 0 or state.step == settings.steps:
        scores = validate()
        if observer is not None:
            observer.validated(state.step, scores)
    save(scores)


def _check_position(batch: Batch, step: int) -> None:
    first, last = int(batch["step"][0]), int(batch["step"][-1])
    if not first == step == last:
        raise RuntimeError(f"the feed delivered steps {first} to {last} where step {step} was due")


def _check_finite(reports: list[StepReport]) -> None:
    for report in reports:
        if not math.isfinite(report.loss):
            raise DivergedError(
                f"the loss is {report.loss} at step {report.step}: start again under another --run "
                "with a lower --optimizer.learning_rate or more --optimizer.warmup_steps"
            )


@dataclass
class _Recent:
    """Steps not yet reported. Their losses stay on the device until then: no step waits for a
    copy.
    """

    rank: int
    workers: int
    observer: Observer
    values: list[tuple[int, float, float, float]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    clock: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)

    def add(self, step: int, losses: RestorationLoss, rate: float, waited: float) -> None:
        now = time.monotonic()
        self.values.append((step, rate, now - self.clock, waited))
        self.losses.append(torch.stack(losses).float())
        self.clock = now
        if self._is_due(now):
            self.report()

    def _is_due(self, now: float) -> bool:
        if self.workers > 1:
            return len(self.values) >= STEPS_PER_REPORT
        return now - self.reported > SECONDS_PER_REPORT

    def report(self) -> None:
        if not self.values:
            return
        total = torch.stack(self.losses)
        if self.workers > 1:
            dist.all_reduce(total)
        rows: list[list[float]] = (total / self.workers).tolist()
        reports = [
            StepReport(step, loss, l1, balance, contrast, rate, seconds, waited)
            for (step, rate, seconds, waited), (loss, l1, balance, contrast) in zip(
                self.values, rows, strict=True
            )
        ]
        if self.rank == 0:
            self.observer.steps(reports)
        _check_finite(reports)
        self.values, self.losses, self.reported = [], [], time.monotonic()

    def restart(self) -> None:
        """Validation and saving do not count as training time."""
        self.clock = self.reported = time.monotonic()
