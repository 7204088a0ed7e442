"""A space of settings to the best of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from amir.config.section import Section
from amir.config.tracking import TrackingSettings
from amir.config.training import TrainSettings


class Axis(Section):
    """The values of one setting: listed, or between two bounds."""

    values: tuple[Any, ...] | None = None
    """The values to choose from; in their place a range:"""
    lower: int | float | None = None
    """Smallest value; whole numbers are drawn where both bounds are written as such."""
    upper: int | float | str | None = None
    """Largest value, or the name of a setting that it is at most, such as model.experts."""
    log: bool = False
    """Draw the logarithm evenly."""
    points: Annotated[int, Field(ge=2)] | None = None
    """Values of a range in a grid; null takes every whole number."""

    @model_validator(mode="after")
    def _is_a_list_or_a_range(self) -> Axis:
        given = [bound for bound in (self.lower, self.upper) if bound is not None]
        if len(given) != (2 if self.values is None else 0):
            raise ValueError("give either values, or lower and upper")
        if self.values == ():
            raise ValueError("values is an empty list")
        if isinstance(self.upper, str) and not isinstance(self.lower, int):
            raise ValueError(f"at most {self.upper} is for whole numbers; lower is {self.lower}")
        if isinstance(self.lower, int | float):
            self._check_range(self.lower, self.upper)
        return self

    def _check_range(self, lower: float, upper: float | str | None) -> None:
        if isinstance(upper, int | float) and upper < lower:
            raise ValueError(f"lower is {lower}, above upper, {upper}")
        if self.log and lower <= 0:
            raise ValueError(f"lower is {lower}, which has no logarithm")


class SchedulerSettings(Section):
    name: Literal["asha", "none"] = "asha"
    """Stop what falls behind (asynchronous successive halving), or train every trial in full."""
    grace: Annotated[int, Field(ge=1)] | None = None
    """Steps before a trial may be stopped: the first rung; null takes validation.every."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """One of so many goes on beyond a rung, and the next rung is so many times further."""


class ConfirmSettings(Section):
    top: Annotated[int, Field(ge=0)] = 0
    """Best finished trials that are trained anew with other seeds."""
    seeds: Annotated[int, Field(ge=1)] = 3
    """Seeds of each: train.seed + 1, + 2, ..."""


class SweepSettings(Section):
    """tune/search.py: many short trainings to the settings of the best."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the sweep and of its folder in the storage."""
    train: TrainSettings
    """What every trial has in common; storage, run and tracking are the sweep's."""
    space: Annotated[dict[str, Axis], Field(min_length=1)]
    """Dotted name of a setting of the training -> its values."""
    search: Literal["tpe", "random", "grid"] = "tpe"
    """Learn where to look from what was found, draw at random, or try everything."""
    trials: Annotated[int, Field(ge=1)] | None = None
    """Trials; more of them later go on where the sweep ended. null: the whole grid."""
    seed: int = 0
    """Draws the settings; what trials are trained with is train.seed."""
    scheduler: SchedulerSettings = SchedulerSettings()
    confirm: ConfirmSettings = ConfirmSettings()
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Trials at a time; null: as many as the cluster holds."""
    gpus: Annotated[float, Field(gt=0, le=1)] = 1.0
    """With train.workers.gpu, and one worker: what share of a GPU a trial takes."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """Restarts of a killed trial, each from its latest checkpoint."""
    storage: Path = Path("storage")
    """Folder of sweeps and runs, shared by every node of the cluster."""
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="after")
    def _shares_no_gpu_among_workers(self) -> SweepSettings:
        if self.gpus < 1 and not (self.train.workers.gpu and self.train.workers.count == 1):
            raise ValueError(
                f"gpus is {self.gpus}: a share is for train.workers.gpu with one worker each"
            )
        return self

    @model_validator(mode="after")
    def _trials_keep_their_workers(self) -> SweepSettings:
        if self.train.workers.least is not None:
            raise ValueError("train.workers.least: trials are compared, each by the same workers")
        return self

    @model_validator(mode="after")
    def _rungs_wait_for_their_checkpoint(self) -> SweepSettings:
        if self.train.checkpoints.background:
            raise ValueError("train.checkpoints.background: a rung is judged once it is saved")
        return self

    @model_validator(mode="after")
    def _has_an_end(self) -> SweepSettings:
        if self.trials is None and self.search != "grid":
            raise ValueError(f"how many trials? --trials is needed with search {self.search}")
        return self

    @model_validator(mode="after")
    def _rungs_are_validated(self) -> SweepSettings:
        every, grace = self.train.validation.every, self.grace
        if self.scheduler.name == "asha" and (grace % every or grace > self.train.steps):
            raise ValueError(
                f"scheduler.grace is {grace}: give a multiple of train.validation.every, {every}, "
                f"and at most train.steps, {self.train.steps}"
            )
        return self

    @property
    def grace(self) -> int:
        """Steps of the first rung."""
        return self.scheduler.grace or self.train.validation.every
