"""MLflow: runs, metrics, pictures. The only module that imports it, and only when it is used.

Names are listed in one place here, so that dashboards, sweeps and the gate spell them alike.
"""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from amir.config import TrackingSettings
from amir.errors import InputError

MODEL = "amir"  # the registered model
LOSS, L1, BALANCE = "train/loss", "train/l1", "train/balance"
CONTRAST = "train/contrast"
LEFT_OUT = "train/left_out"  # 1 where a step was not taken
WORKERS = "train/workers"  # how many there are from this step on
WITHOUT = "data/shards_left_out"  # missing or damaged ones, by choice
LEARNING_RATE, RATE, WAIT = "train/learning_rate", "train/samples_per_second", "train/data_wait"
GAIN, GAIN_WORST = "validation/gain", "validation/gain_worst"
PARAMETERS_PER_CALL, METRICS_PER_CALL = 100, 1000  # MLflow's limits
# Read by MLflow with each request; by default it tries for minutes, and training would wait.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
Rows = Sequence[tuple[int, Mapping[str, float]]]  # (step, name -> value)
log = logging.getLogger(__name__)


class Run(Protocol):
    """What a job tells about itself while it runs."""

    id: str

    def parameters(self, values: Mapping[str, Any]) -> None: ...
    def tags(self, values: Mapping[str, str]) -> None: ...
    def metrics(self, rows: Rows, *, times: Sequence[int] = ()) -> bool: ...
    def file(self, path: Path, *, folder: str | None = None) -> None: ...
    def finish(self, status: str = "FINISHED") -> None: ...
    def finish_nested(self, status: str = "FINISHED") -> None: ...


def tracking_uri(settings: TrackingSettings, storage: Path) -> str | None:
    """As set, else $MLFLOW_TRACKING_URI, else SQLite in the storage folder; None for "none"."""
    if settings.uri == "none":
        return None
    uri = settings.uri or os.environ.get("MLFLOW_TRACKING_URI")
    return uri or f"sqlite:///{storage.absolute() / 'mlflow.db'}"


def open_run(
    settings: TrackingSettings,
    storage: Path,
    *,
    name: str,
    run_id: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Run:
    """Start a run, or go on with the one of `run_id`; InputError if MLflow cannot be reached.

    tags: of a new run. A run that has them all is this one, made by somebody who was killed before
    he noted its id.
    """
    uri = tracking_uri(settings, storage)
    if uri is None:
        return Untracked()
    from mlflow.exceptions import MlflowException

    try:
        return MlflowRun(uri, settings.experiment, storage, name=name, run_id=run_id, tags=tags)
    except (MlflowException, OSError) as error:
        raise InputError(
            "invalid_setting",
            f"MLflow at {without_password(uri)} does not take the run: {without_password(error)}. "
            "Mend or start it, change --tracking.uri, or run without it: --tracking.uri none",
        ) from None


class Untracked:
    """A run that nobody records."""

    id = ""

    def parameters(self, values: Mapping[str, Any]) -> None: ...
    def tags(self, values: Mapping[str, str]) -> None: ...
    def metrics(self, rows: Rows, *, times: Sequence[int] = ()) -> bool:
        return True

    def file(self, path: Path, *, folder: str | None = None) -> None: ...
    def finish(self, status: str = "FINISHED") -> None: ...
    def finish_nested(self, status: str = "FINISHED") -> None: ...


class MlflowRun:
    """A run in MLflow, by its explicit id: nothing depends on MLflow's global state.

    A server that is away for a moment costs what it should have recorded, never the training.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        storage: Path,
        *,
        name: str,
        run_id: str | None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.client = client = mlflow_client(uri)
        if run_id is None:
            place = _experiment(client, uri, experiment, storage)
            run_id = _run_with(client, place, tags) if tags else None
            if run_id is None:
                made = client.create_run(place, run_name=name, tags=dict(tags or {}))
                run_id = made.info.run_id
        else:
            client.update_run(run_id, status="RUNNING")
        self.id: str = str(run_id)

    def parameters(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        every = [Param(name, str(value)) for name, value in values.items()]
        with self._forgiven("parameters"):
            for start in range(0, len(every), PARAMETERS_PER_CALL):
                self.client.log_batch(self.id, params=every[start : start + PARAMETERS_PER_CALL])

    def tags(self, values: Mapping[str, str]) -> None:
        with self._forgiven("tags"):
            for name, value in values.items():
                self.client.set_tag(self.id, name, value)

    def metrics(self, rows: Rows, *, times: Sequence[int] = ()) -> bool:
        """Log what is finite; MLflow's databases know neither NaN nor infinity alike.

        times: of the rows, in milliseconds since 1970; now where they are not given. The same row
        at the same time counts once, however often it is sent. False if MLflow did not take all.
        """
        from mlflow.entities import Metric

        moments = times or [int(time.time() * 1000)] * len(rows)
        every = [
            Metric(name, float(value), moment, step)
            for (step, values), moment in zip(rows, moments, strict=True)
            for name, value in values.items()
            if math.isfinite(value)
        ]
        calls = range(0, len(every), METRICS_PER_CALL)
        taken = []
        with self._forgiven("metrics"):
            for start in calls:
                self.client.log_batch(self.id, metrics=every[start : start + METRICS_PER_CALL])
                taken.append(start)
        return len(taken) == len(calls)

    def file(self, path: Path, *, folder: str | None = None) -> None:
        with self._forgiven(path.name):
            self.client.log_artifact(self.id, str(path), folder)

    def finish(self, status: str = "FINISHED") -> None:
        with self._forgiven("the end of the run"):
            self.client.set_terminated(self.id, status)

    def finish_nested(self, status: str = "FINISHED") -> None:
        """The runs within this one that nobody is left to finish, or that were given up before."""
        nested = f"tags.`mlflow.parentRunId` = '{self.id}'"
        with self._forgiven("the end of the runs within this one"):
            place = self.client.get_run(self.id).info.experiment_id
            for before in ("RUNNING", "KILLED"):
                wanted = f"{nested} and attributes.status = '{before}'"
                for run in self.client.search_runs([place], wanted):
                    self.client.set_terminated(run.info.run_id, status)

    @contextmanager
    def _forgiven(self, what: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            log.warning("MLflow did not take %s: %s", what, without_password(error))


def mlflow_client(uri: str) -> Any:
    """A client that keeps its log quiet and its patience short; makes the folder of SQLite."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: Any, uri: str, name: str, storage: Path) -> str:
    """The experiment's id, made on first use; without a server its files lie in the storage."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(name)) is not None:
        return str(found.experiment_id)
    place = None if uri.startswith("http") else (storage.absolute() / "mlflow-artifacts").as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException:
        if (made_by_another := client.get_experiment_by_name(name)) is None:
            raise
        return str(made_by_another.experiment_id)


def _run_with(client: Any, experiment_id: str, tags: Mapping[str, str]) -> str | None:
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    found = client.search_runs([experiment_id], wanted, max_results=1)
    return str(found[0].info.run_id) if found else None


def without_password(text: object) -> str:
    """The first line of an address or an error, without user and password."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", str(text).split("\n", 1)[0])
