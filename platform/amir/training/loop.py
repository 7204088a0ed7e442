"""Steps, validation, checkpoints. No Ray and no MLflow: what happens is told to an observer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from amir.config import TrainSettings
from amir.dataset.reader import Batch
from amir.losses import TASKS
from amir.modality import Modality
from amir.training.divergence import Watch
from amir.training.graphs import GraphedGradients
from amir.training.optimizer import learning_rate, set_learning_rate
from amir.training.state import TrainingState
from amir.training.step import (
    Objective,
    Step,
    find_gradients,
    seed_step,
    to_crops,
    train_step,
)
from amir.training.validation import Scores

SECONDS_PER_REPORT = 5.0
STEPS_PER_REPORT = 20  # where several workers must come to the same verdict


@dataclass(frozen=True)
class StepReport:
    """One step as it is logged. seconds: of the whole step; waited: of these, for data.

    by_task: L1 error of each task with a pixel in the batch. left_out: the slices of a step that
    was not taken, because its loss was no number or too large; else empty.
    """

    step: int
    loss: float
    l1: float
    balance: float
    contrast: float
    by_task: dict[Modality, float]
    learning_rate: float
    seconds: float
    waited: float
    left_out: tuple[str, ...] = ()


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
    workers: int = 1,
    validate: Callable[[], Scores],
    save: Callable[[Scores], None],
    names: Callable[[int], Sequence[str]],
    observer: Observer,
) -> None:
    """Train from state.step to settings.steps; `batches` starts at state.step.

    validate is called by every worker at once, and so is save, with scores where there are any.
    names: of the slices in the batch of an update, counted from 0.
    """
    watch = Watch(settings.divergence, names)
    recent = _Recent(rank, workers, observer, watch)
    objective = _objective(state, settings)
    gradients = GraphedGradients() if settings.workers.graph else find_gradients
    state.network.train()
    waiting = time.monotonic()
    for batch in batches:
        waited = time.monotonic() - waiting
        _check_position(batch, state.step)
        rate = learning_rate(state.step, settings.steps, settings.optimizer)
        set_learning_rate(state.optimizers, rate)
        seed_step(settings.seed, state.step, rank)
        step = train_step(
            state.network,
            to_crops(batch, device),
            state.optimizers,
            objective,
            gradients=gradients,
        )
        state.step += 1
        if state.average is not None:
            state.average.follow(state.model, state.step)
        recent.add(state.step, step, rate, waited)
        watch.count(state.step, taken=step.taken)
        if _due(state.step, settings):
            recent.report()
            _pause(state, settings, validate, save, observer if rank == 0 else None)
            recent.restart()
        waiting = time.monotonic()
    if state.step < settings.steps:
        raise RuntimeError(f"the feed ended after step {state.step} of {settings.steps}")


def _objective(state: TrainingState, settings: TrainSettings) -> Objective:
    skips = settings.divergence.action == "skip"
    return Objective(
        settings.loss.balance_weight,
        state.contrast,
        state.balancing,
        settings.accumulate,
        settings.optimizer.clip_norm,
        settings.divergence.loss_limit if skips else None,
    )


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


@dataclass
class _Recent:
    """Steps not yet reported. Their losses stay on the device until then: no step waits for a
    copy.
    """

    rank: int
    workers: int
    observer: Observer
    watch: Watch
    values: list[tuple[int, bool, float, float, float]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    clock: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)

    def add(self, number: int, step: Step, rate: float, waited: float) -> None:
        now = time.monotonic()
        self.values.append((number, step.taken, rate, now - self.clock, waited))
        losses = step.losses
        alone = torch.stack([losses.total, losses.l1, losses.balance, losses.contrast])
        self.losses.append(torch.cat([alone, losses.by_task()]).float())
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
        reports = [self._told(*facts) for facts in zip(self.values, rows, strict=True)]
        if self.rank == 0:
            self.observer.steps(reports)
        self.watch.check(reports)
        self.values, self.losses, self.reported = [], [], time.monotonic()

    def restart(self) -> None:
        """Validation and saving do not count as training time."""
        self.clock = self.reported = time.monotonic()

    def _told(
        self, facts: tuple[int, bool, float, float, float], losses: list[float]
    ) -> StepReport:
        step, taken, rate, seconds, waited = facts
        loss, l1, balance, contrast, *by_task = losses
        tasks = {t: error for t, error in zip(TASKS, by_task, strict=True) if not math.isnan(error)}
        left_out = () if taken else tuple(self.watch.names(step - 1))
        return StepReport(step, loss, l1, balance, contrast, tasks, rate, seconds, waited, left_out)
