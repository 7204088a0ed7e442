"""What the sweeping tests share: sweeps recorded as the search does it, on gains by a formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amir.command_line import flatten, validate
from amir.config import StudySettings, SweepSettings
from amir.sweeping.comparison import halving
from amir.sweeping.cube import coordinates, spread
from amir.sweeping.curves import Curve
from amir.sweeping.record import Record, Rung, Sweep, Trial, read_sweep
from amir.sweeping.replay import Stops
from amir.sweeping.standing import standing

TASKS = {"MRI": 0.5, "CT": 1.2, "PET": 1.0}  # what share of the gain each has


@pytest.fixture(scope="session")
def sweep_settings() -> Callable[..., SweepSettings]:
    """sweep_settings(trials=30, ...): over gamma, N, M, K and the learning rate, 270 steps."""

    def settings(**chosen: Any) -> SweepSettings:
        tree: dict[str, Any] = {
            "name": "routing",
            "trials": 30,
            "confirm": {"top": 2, "seeds": 3},
            "scheduler": {"grace": 30},
            "train": {"data": {"path": "data"}, "steps": 270, "validation": {"every": 30}},
            "space": {
                "loss.balance_weight": {"lower": 1e-4, "upper": 1e-1, "log": True},
                "model.instructions": {"values": [4, 8, 16, 32]},
                "model.experts": {"lower": 2, "upper": 8},
                "model.top_k": {"lower": 1, "upper": "model.experts"},
                "optimizer.learning_rate": {"lower": 3e-4, "upper": 1e-2, "log": True},
            },
        }
        return validate(SweepSettings, tree | chosen)

    return settings


@pytest.fixture(scope="session")
def tiny_sweep(tiny_dataset: Path, tiny_network: dict[str, Any]) -> Callable[..., Any]:
    """tiny_sweep(storage, steps=8, grace=4, ...): of trainings that take seconds."""

    def make(storage: Path, *, steps: int, grace: int, **chosen: Any) -> SweepSettings:
        tree: dict[str, Any] = {
            "name": "sweep",
            "space": {
                "model.top_k": {"lower": 1, "upper": "model.experts"},
                "model.experts": {"values": [2, 4]},
                "optimizer.learning_rate": {"lower": 1e-4, "upper": 1e-2, "log": True},
            },
            "trials": 4,
            "concurrency": 2,
            "scheduler": {"grace": grace, "reduction": 4},
            "train": {
                "data": {"path": tiny_dataset, "crop": 16, "sampling": "uniform"},
                "steps": steps,
                "batch": 3,
                "model": dict(tiny_network),
                "validation": {"every": grace, "slices": 1},
                "checkpoints": {"every": 2},
            },
            "storage": storage,
        }
        return validate(SweepSettings, tree | chosen)

    return make


@pytest.fixture(scope="session")
def record_sweep() -> Callable[..., Sweep]:
    """record_sweep(folder, settings, ...): what a search and its confirmation leave."""
    return _record


def _record(
    folder: Path, settings: SweepSettings, *, ended: int | None = None, failed: int | None = None
) -> Sweep:
    """Halving by Ray's own scheduler. ended: trials that come to an end, the next one is under way;
    failed: the number of a trial whose loss was no number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record, stops = Record(folder), halving(settings)
    about = {"settings": settings.model_dump(mode="json", exclude={"tracking"})}
    record.describe(about | {"dataset_digest": "ab" * 32, "code_version": "test"})
    common = flatten(settings.train)
    points = spread(settings.space, common, settings.trials or 0, seed=settings.seed)
    for number, parameters in enumerate(points):
        trial = Trial(number, parameters, settings.train.seed)
        record.drawn(trial)
        if number == failed:
            record.ended(number, "failed", steps_run=12, reason="the loss is nan at step 12")
        elif number == ended:
            _train(record, settings, trial, lambda number, rung: rung.step > 30, leave=True)
            return read_sweep(folder)
        else:
            _train(record, settings, trial, stops)
    best = standing(read_sweep(folder), [settings.train.steps])[: settings.confirm.top]
    for number, (trial, seed) in enumerate(_repetitions(best, settings), start=len(points)):
        again = Trial(number, trial.parameters, seed, confirms=trial.number)
        record.drawn(again)
        _train(record, settings, again, lambda number, rung: False)
    return read_sweep(folder)


def _repetitions(best: list[Trial], settings: SweepSettings) -> Iterator[tuple[Trial, int]]:
    for trial in best:
        for k in range(settings.confirm.seeds):
            yield trial, settings.train.seed + 1 + k


def _train(
    record: Record,
    settings: SweepSettings,
    trial: Trial,
    stops: Stops,
    *,
    leave: bool = False,
) -> None:
    """leave: go away in the midst, as a kill does."""
    record.started(trial.number, 2.0 + trial.number % 3)
    for rung in course(settings, trial.parameters, seed=100 * trial.number + trial.seed):
        record.rung(trial.number, rung)
        if stops(trial.number, rung):
            if not leave:
                state = "finished" if rung.step == settings.train.steps else "stopped"
                record.ended(trial.number, state, steps_run=rung.step)
            return
    record.ended(trial.number, "finished", steps_run=rung.step)


def course(settings: SweepSettings, parameters: Any, *, seed: int) -> Iterator[Rung]:
    """Gains by a formula: the learning rate matters most, gamma less, the others not at all."""
    place = dict(
        zip(
            settings.space,
            coordinates(settings.space, flatten(settings.train), parameters),
            strict=True,
        )
    )
    rate = place.get("optimizer.learning_rate", 0.7)
    top = 2 - 5 * (rate - 0.7) ** 2 - 0.8 * (place.get("loss.balance_weight", 0.4) - 0.4) ** 2
    chance = np.random.default_rng(seed)
    every = settings.train.validation.every
    for step in range(every, settings.train.steps + 1, every):
        gain = top - 2.5 * math.exp(-step / 90 * (0.5 + rate)) + chance.normal(0, 0.06)
        gains = {task: share * gain - 0.1 for task, share in TASKS.items()}
        mean = float(np.mean(list(gains.values())))
        yield Rung(step, mean, min(gains.values()), gains, 0.12 * step)


@pytest.fixture(scope="session")
def known_curves() -> Callable[[StudySettings], list[Curve]]:
    """Curves of all trials of a study, by the same formula."""

    def curves(settings: StudySettings) -> list[Curve]:
        common = flatten(settings.train)
        points = spread(settings.space, common, settings.trials, seed=settings.seed)
        return [
            Curve(number, point, tuple(course(settings, point, seed=number)))
            for number, point in enumerate(points)
        ]

    return curves
