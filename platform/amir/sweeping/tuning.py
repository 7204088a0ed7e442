"""Ray Tune around the trials: what it asks for next, what it is told, what it leaves behind."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import ray
from ray import tune
from ray.exceptions import OutOfMemoryError, RayError
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.tune.search import Searcher

from amir.config import SweepSettings
from amir.sweeping.record import Record, Rung, State, Trial
from amir.sweeping.trial import (
    CONTROLLER,
    LASTING,
    OBJECTIVE,
    SECONDS_TO_CLOSE,
    STEP,
    TrialTask,
    train_trial,
)
from amir.training.ray_trainer import interruptible
from amir.training.run_folder import RunFolder

# Read by Tune while it works. Its own state is of no use: the sweep's record is the one truth.
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer one prints a table even when silent
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # else Ctrl-C looks like a good end
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no objective
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
SMALL = 0.1  # CPUs of a trial that has its training done by workers; Tune refuses none


class NoMemoryLeftError(RuntimeError):
    """Ray ended trials because their node ran out of memory. Tune restarts a trial that is killed
    otherwise; at this it gives up altogether.
    """


class Budget(NamedTuple):
    """Trials at a time, and what each takes of one node; of a trial with several workers only what
    watches over them.
    """

    concurrency: int
    cpus: float
    gpus: float


class Outcomes:
    """Trials as Tune tells of them, written down before anything follows from it.

    tell: called with each trial whose state or last rung has changed.
    """

    def __init__(
        self, record: Record, trials: Sequence[Trial], tell: Callable[[Trial], None]
    ) -> None:
        self.record, self.tell = record, tell
        self.trials = {trial.number: trial for trial in trials}
        self.attempts: dict[int, float] = {}

    def drawn(self, trial: Trial) -> None:
        self.record.drawn(trial)
        self.trials[trial.number] = trial

    def result(self, number: int, result: dict[str, Any], started: float) -> None:
        """started: when Tune began this attempt, seconds since 1970 on this machine's clock."""
        trial = self.trials[number]
        if "failed" in result or result[STEP] <= trial.step:
            return
        if self.attempts.get(number) != result["attempt"]:
            self.attempts[number] = result["attempt"]
            launch = max(0.0, time.time() - started - result["age"])
            trial.attempts += 1
            trial.startup_seconds += launch + result["startup"]
            self.record.started(number, launch + result["startup"])
        before = trial.rungs[-1].seconds if trial.rungs else 0.0
        rung = Rung(
            step=result[STEP],
            objective=result[OBJECTIVE],
            minimum=result["minimum"],
            gains=result["gains"],
            seconds=before + result["seconds"],
        )
        trial.rungs.append(rung)
        self.record.rung(number, rung)
        self.tell(trial)

    def ended(self, number: int, *, reason: str | None = None, lasting: bool = True) -> None:
        trial = self.trials[number]
        folder = RunFolder(self.record.folder / trial.name)
        state: State = "failed" if reason else "stopped"
        if reason is None and folder.status() == "finished":
            state = "finished"
        if state == "stopped" and folder.path.is_dir():
            folder.set_status("stopped", steps=folder.step())
        trial.state, trial.reason, trial.lasting = state, reason, lasting
        trial.steps_run = steps_run(folder)
        self.record.ended(number, state, steps_run=trial.steps_run, reason=reason, lasting=lasting)
        self.tell(trial)


def steps_run(folder: RunFolder) -> int:
    """Optimizer steps of all attempts, those that were done again after a kill included."""
    return folder.step() + sum(int(row.get("again", 0)) for row in folder.rows())


class Suggestions(Searcher):
    """Hands out the trials, each under the id that Tune gives it."""

    def __init__(self, upcoming: Callable[[], Trial | None]) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        self.upcoming = upcoming

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        trial = self.upcoming()
        if trial is None:
            return str(self.FINISHED)
        return {
            "number": trial.number,
            "parameters": dict(trial.parameters),
            "seed": trial.seed,
            "told": trial.step,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None: ...

    def save(self, checkpoint_path: str) -> None: ...
    def restore(self, checkpoint_path: str) -> None: ...

    def __getstate__(self) -> dict[str, Any]:
        """Tune keeps a copy for its own way of going on."""
        return {}


class Listener(tune.Callback):
    """Tells the outcomes what Tune's controller sees, in its order."""

    def __init__(self, outcomes: Outcomes) -> None:
        self.outcomes = outcomes
        self.started: dict[str, float] = {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.started[trial.trial_id] = time.time()

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.outcomes.result(trial.config["number"], result, self.started[trial.trial_id])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        last = trial.last_result
        self.outcomes.ended(
            trial.config["number"], reason=last.get("failed"), lasting=last.get(LASTING, True)
        )
        if (controller := last.get(CONTROLLER)) is not None:
            _let_go(controller)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        reason = str(trial.get_pickled_error()).strip().splitlines()[-1]
        self.outcomes.ended(trial.config["number"], reason=reason, lasting=False)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _let_go(controller: Any) -> None:
    """Have Ray Train end a run and give its places back.

    Killed with its trial, it would leave that to an actor that asks Ray's dashboard: where there is
    none the places stay taken until the search ends.
    """
    with suppress(RayError):  # it is gone already, or goes now
        ray.get(controller.abort.remote(), timeout=SECONDS_TO_CLOSE)


class _Named(NamedTuple):
    trial_id: str


class Asha(AsyncHyperBandScheduler):
    """Knows trials by their number, which stays the same when the sweep goes on; their id does
    not.
    """

    def __init__(self, settings: SweepSettings) -> None:
        super().__init__(
            time_attr=STEP,
            metric=OBJECTIVE,
            mode="max",
            max_t=settings.train.steps,
            grace_period=settings.grace,
            reduction_factor=settings.scheduler.reduction,
        )

    def recall(self, rungs: Sequence[tuple[int, Rung]]) -> set[int]:
        """Decide again as before; returns the trials that are to stop."""
        for number in dict.fromkeys(number for number, _ in rungs):
            super().on_trial_add(None, _Named(str(number)))
        decisions = {
            number: super(Asha, self).on_trial_result(
                None, _Named(str(number)), {STEP: rung.step, OBJECTIVE: rung.objective}
            )
            for number, rung in rungs
        }
        return {number for number, decision in decisions.items() if decision == self.STOP}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, _named(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return str(super().on_trial_result(tune_controller, _named(trial), result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        super().on_trial_complete(tune_controller, _named(trial), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_remove(tune_controller, _named(trial))


def scheduler_of(
    settings: SweepSettings, told: Sequence[tuple[int, Rung]]
) -> tuple[FIFOScheduler, set[int]]:
    """As set, knowing what an earlier start was told; and the trials it had decided to stop."""
    if settings.scheduler.name == "none":
        return train_all_in_full(), set()
    asha = Asha(settings)
    return asha, asha.recall(told)


def train_all_in_full() -> FIFOScheduler:
    return FIFOScheduler()


def _named(trial: Any) -> _Named:
    return _Named(str(trial.config["number"]))


def fit(
    task: TrialTask,
    budget: Budget,
    *,
    upcoming: Callable[[], Trial | None],
    outcomes: Outcomes,
    scheduler: FIFOScheduler,
    max_failures: int,
    trainable: Callable[..., None] = train_trial,
) -> None:
    """Run trials until there are no more, or until Ctrl-C or SIGTERM, which is KeyboardInterrupt,
    or until a node has no memory left: NoMemoryLeftError.

    trainable: called as train_trial is; another reports gains without a training.
    """
    folder = outcomes.record.folder / "ray"
    shutil.rmtree(folder, ignore_errors=True)  # of a start that was killed
    taken = {"CPU": budget.cpus} | ({"GPU": budget.gpus} if budget.gpus else {})
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    try:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, task=task), taken),
            tune_config=tune.TuneConfig(
                num_samples=-1,
                search_alg=Suggestions(upcoming),
                scheduler=scheduler,
                max_concurrent_trials=budget.concurrency,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder),
                verbose=0,
                callbacks=[Listener(outcomes)],
                failure_config=tune.FailureConfig(max_failures=max_failures),
            ),
        )
        with interruptible():
            tuner.fit()
    except RuntimeError as error:
        if isinstance(error.__cause__, OutOfMemoryError):
            raise NoMemoryLeftError(str(error.__cause__)) from None
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _name(trial: Any) -> str:
    return f"trial-{trial.config['number']}"
