"""A sweep of stub trials under Ray Tune: what its controller, its record and going on cost."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from measures import Line, shortest
from ray import tune

from amir import cluster
from amir.config import DataSettings, SweepSettings, TrainSettings, ValidationSettings
from amir.sweeping.record import Record, Trial, read_sweep, rungs_as_told
from amir.sweeping.sources import source_of
from amir.sweeping.trial import OBJECTIVE, STEP, TrialTask
from amir.sweeping.tuning import Budget, Outcomes, fit, scheduler_of
from amir.training.run_folder import RunFolder

GPUS = 64
STEPS, EVERY = 270, 30
SECONDS_PER_RUNG = 0.05


def controller(folder: Path, quick: bool) -> Iterator[Line]:
    """Controller time and memory per trial and report, storage, and the time to go on."""
    trials, at_once = (12, 4) if quick else (500, 8)
    settings = sweep_of(trials, folder)
    start_ray(at_once)
    source_of(settings).draw(0)  # Optuna is imported
    before, cpu, wall = memory(), time.process_time(), time.perf_counter()
    run_stubs(settings, folder, Budget(at_once, 1.0, 1.0), stub=reporting_stub)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    ray.shutdown()
    sweep = read_sweep(folder)
    reports = sum(len(trial.rungs) for trial in sweep.trials)
    steps = sum(trial.step for trial in sweep.trials)
    what = f"{trials} trials, {at_once} at a time"
    yield Line("trials", f"{what}: reports", reports, "")
    yield Line("steps", f"{what}: of the steps in full", 100 * steps / (trials * STEPS), "%")
    yield Line("wall", f"{what}: wall time", wall, "s")
    yield Line("cpu/trial", "processor time of the controller per trial", 1e3 * cpu / trials, "ms")
    yield Line("cpu/report", "the same per report", 1e3 * cpu / reports, "ms")
    yield Line("memory", "memory the controller gained", memory() - before, "MB")
    files = [path for path in folder.rglob("*") if path.is_file()]
    record = (folder / "trials.jsonl").stat().st_size
    yield Line("files", "files in the sweep's folder, stubs' included", len(files), "")
    yield Line("record", "trials.jsonl", record / 1e6, "MB")
    yield from going_on(settings, folder)


def going_on(settings: SweepSettings, folder: Path) -> Iterator[Line]:
    """What is done before the first trial of a sweep that goes on."""
    seconds = shortest(lambda: read_sweep(folder), quick=False)
    yield Line("resume/read", "going on: read the record", seconds, "s")
    sweep, told = read_sweep(folder), rungs_as_told(folder)
    seconds = shortest(lambda: scheduler_of(settings, told), quick=False)
    yield Line("resume/scheduler", "going on: decide again", seconds, "s")
    start = time.perf_counter()
    source = source_of(settings, sweep.search)
    middle = time.perf_counter()
    source.draw(len(sweep.trials))
    yield Line("resume/search", "going on: tell TPE what is known", middle - start, "s")
    yield Line("draw", "then draw one trial", time.perf_counter() - middle, "s")


def sweep_of(trials: int, folder: Path) -> SweepSettings:
    axes = {
        "loss.balance_weight": {"lower": 1e-4, "upper": 1e-1, "log": True},
        "model.instructions": {"values": [4, 8, 16, 32]},
        "model.experts": {"lower": 2, "upper": 8},
        "model.top_k": {"lower": 1, "upper": "model.experts"},
        "optimizer.learning_rate": {"lower": 3e-4, "upper": 1e-2, "log": True},
    }
    train = TrainSettings(
        data=DataSettings(path=folder / "no-dataset"),
        storage=folder,
        steps=STEPS,
        validation=ValidationSettings(every=EVERY),
    )
    tree = {"name": folder.name, "train": train, "space": axes, "trials": trials}
    return SweepSettings.model_validate(tree)


def run_stubs(
    settings: SweepSettings,
    folder: Path,
    budget: Budget,
    *,
    stub: Callable[..., None],
) -> None:
    """stub: in place of a trial, called as train_trial is."""
    record = Record(folder)
    record.describe({"settings": settings.model_dump(mode="json")})
    source = source_of(settings)

    def learn(trial: Trial) -> None:
        if trial.state in ("finished", "stopped"):
            source.tell(trial.number, trial.objective)

    outcomes = Outcomes(record, [], learn)

    def upcoming() -> Trial | None:
        number = len(outcomes.trials)
        parameters = source.draw(number) if number < (settings.trials or 0) else None
        if parameters is None:
            return None
        trial = Trial(number, parameters, seed=0)
        outcomes.drawn(trial)
        return trial

    fit(
        TrialTask(settings.name, settings.train, ""),
        budget,
        upcoming=upcoming,
        outcomes=outcomes,
        scheduler=scheduler_of(settings, [])[0],
        max_failures=0,
        trainable=stub,
    )


def reporting_stub(config: dict[str, Any], *, task: TrialTask) -> None:
    """Reports as a trial does: gains of a curve that its learning rate decides."""
    folder = RunFolder(task.train.storage / f"{config['number']:03d}")
    folder.path.mkdir(exist_ok=True)
    entered, chance = time.time(), random.Random(config["number"])
    rate = math.log10(config["parameters"]["optimizer.learning_rate"])
    for step in range(EVERY, STEPS + 1, EVERY):
        time.sleep(SECONDS_PER_RUNG)
        gain = 2 - (rate + 2.5) ** 2 - 2 * math.exp(-step / 90) + chance.gauss(0, 0.05)
        if step == STEPS:
            folder.set_status("finished")
        tune.report(
            {
                STEP: step,
                OBJECTIVE: gain,
                "minimum": gain - 0.3,
                "gains": {"MRI": gain - 0.3, "CT": gain, "PET": gain + 0.3},
                "seconds": SECONDS_PER_RUNG,
                "startup": 0.0,
                "age": time.time() - entered,
                "attempt": entered,
            }
        )


def start_ray(at_once: int, *, gpus: int = GPUS) -> None:
    """A cluster that believes in its GPUs, and has few CPUs: Ray starts a process for each."""
    for name, value in cluster.ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ray.init(
        address="local",
        num_cpus=at_once,
        num_gpus=gpus,
        include_dashboard=False,
        object_store_memory=200_000_000,
        runtime_env=cluster.local_environment(),
        **cluster.QUIET,
    )


def memory() -> float:
    """Resident memory of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
