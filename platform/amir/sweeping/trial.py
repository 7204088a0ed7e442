"""One trial under Ray Tune: the training of the job, told to the scheduler at each validation."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError
from ray.tune.integration.ray_train import TuneReportCallback

from amir import checkpoint
from amir.config import TrainSettings
from amir.modality import Modality
from amir.sweeping.record import Rung, run_name
from amir.sweeping.spaces import trial_settings
from amir.tracking import GAIN, GAIN_WORST, RATE
from amir.training import ray_trainer
from amir.training.alone import train_alone
from amir.training.attempt import StoppedEarlyError
from amir.training.run_folder import RunFolder

STEP, OBJECTIVE = "step", "gain"  # in Tune's results, as Ray Train reports them
SECONDS_TO_CLOSE = 60  # for a stopped trial to say so in its folder and to MLflow
SECONDS_TO_LET_GO = 60  # for a killed process to be gone
LASTING = "lasting"
CONTROLLER = "controller"  # Ray Train's, of a trial of several workers


@dataclass(frozen=True)
class TrialTask:
    """What all trials of a sweep are given. train: its storage is the sweep's folder.

    parent: the sweep's run in MLflow, "" without.
    """

    sweep: str
    train: TrainSettings
    parent: str

    def settings(self, config: Mapping[str, Any]) -> TrainSettings:
        chosen = trial_settings(self.train, config["parameters"])
        return chosen.model_copy(update={"run": run_name(config["number"]), "seed": config["seed"]})

    def tags(self, number: int) -> dict[str, str]:
        """Of the trial's run in MLflow: what it is nested in."""
        if not self.parent:
            return {}
        return {"mlflow.parentRunId": self.parent, "amir.trial": f"{self.sweep}/{number}"}


def train_trial(config: dict[str, Any], *, task: TrialTask) -> None:
    """config: number, parameters, seed; told: the last step the scheduler knows of.

    A trial that was under way goes on from its checkpoint; an early end is Tune's SystemExit.
    """
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(SECONDS_TO_CLOSE)
    settings = task.settings(config)
    news = News(RunFolder(settings.storage / str(settings.run)), settings, told=config["told"])
    try:
        if news.folder.status() != "finished":
            _train(settings, news, task.tags(config["number"]))
    except StoppedEarlyError:
        raise SystemExit(0) from None
    except ray_trainer.LASTING as error:
        tune.report({"failed": str(error), LASTING: getattr(error, "code", "") != "disk_full"})
    else:
        for result in news.fresh(whole=True):
            tune.report(result)


def _train(settings: TrainSettings, news: News, tags: Mapping[str, str]) -> None:
    """Several workers are Ray Train's; one needs no process beside this one, which the next trial
    uses again.
    """
    if settings.workers.count > 1:
        callbacks = [_Telling(news)]
        try:
            ray_trainer.run(settings, callbacks=callbacks, tags=tags, patience=SECONDS_TO_LET_GO)
        except RayActorError:
            if news.folder.status() == "stopped":  # by the search, which ended Ray Train's part
                raise StoppedEarlyError from None
            raise
        return

    def tell(metrics: Mapping[str, Any]) -> None:
        try:
            for result in news.fresh():
                tune.report(result)
        except SystemExit:
            raise StoppedEarlyError from None

    def begin() -> None:
        news.begin()
        tell({})  # what an earlier attempt no longer could

    train_alone(settings, begin=begin, report=tell, tags=tags, patience=SECONDS_TO_LET_GO)


class News:
    """The validations in a run's folder that Tune was not told yet, as results to report.

    told: the last step it was told. Goes to another process where Ray Train leads the workers, so
    its clock is the wall's.
    """

    def __init__(self, folder: RunFolder, settings: TrainSettings, *, told: int) -> None:
        self.folder, self.told = folder, told
        self.steps, self.batch = settings.steps, settings.batch
        self.entered = self.since = time.time()
        self.startup: float | None = None

    def begin(self) -> None:
        """The first step comes next."""
        self.since = time.time()
        self.startup = self.since - self.entered

    def fresh(self, *, whole: bool = False) -> Iterator[dict[str, Any]]:
        """What can be resumed from. The last step only when the run is `whole`: told of it, the
        scheduler ends the trial at once, before the run is finished.
        """
        rows, told = self.folder.rows(), self.told
        saved = max(checkpoint.saved_steps(self.folder.checkpoints), default=0)
        for rung in rungs_of(rows):
            if told < rung.step <= saved and (whole or rung.step < self.steps):
                self.told = rung.step
                yield self._result(rung, rows)
                self.since = time.time()  # waiting for the scheduler is not training

    def _result(self, rung: Rung, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        now = time.time()
        if self.startup is None:  # several workers do not say when they begin
            steps = [row for row in rows if RATE in row and row["step"] <= rung.step]
            self.startup = max(0.0, now - self.entered - sum(self.batch / r[RATE] for r in steps))
            self.since = self.entered + self.startup
        return {
            STEP: rung.step,
            OBJECTIVE: rung.objective,
            "minimum": rung.minimum,
            "gains": dict(rung.gains),
            "seconds": now - self.since,
            "startup": self.startup,
            "age": now - self.entered,
            "attempt": self.entered,
        }


class _Telling(TuneReportCallback):
    """On Ray Train's side of a trial with several workers."""

    def __init__(self, news: News) -> None:
        super().__init__()
        self.news = news

    def after_report(self, run_context: Any, metrics: Any, checkpoint: Any) -> None:
        controller = ray.get_runtime_context().current_actor
        for result in self.news.fresh():
            super().after_report(run_context, [{**result, CONTROLLER: controller}], None)


def rungs_of(rows: Sequence[Mapping[str, Any]]) -> list[Rung]:
    """The validations among the rows of metrics.jsonl."""
    return [
        Rung(
            step=row["step"],
            objective=row[GAIN],
            minimum=row[GAIN_WORST],
            gains=_gains(row),
            seconds=0.0,
        )
        for row in rows
        if GAIN in row and math.isfinite(row[GAIN])
    ]


def _gains(row: Mapping[str, Any]) -> dict[str, float]:
    named = {str(task): f"validation/{task}/gain" for task in Modality}
    return {task: row[name] for task, name in named.items() if name in row}
