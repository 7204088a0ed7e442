"""MLflow on SQLite and on a server: what is logged is there; what is away costs no training."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from amir import tracking
from amir.config import TrackingSettings
from amir.errors import InputError
from amir.tracking import Untracked, open_run, tracking_uri

MlflowServer = Callable[[str, Path], AbstractContextManager[str]]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: MLflow takes seconds to make its tables."""
    return tmp_path_factory.mktemp("tracking") / "a storage"


@pytest.fixture
def server(storage: Path, tmp_path: Path, mlflow_server: MlflowServer) -> Iterator[str]:
    """The address of an MLflow server over a copy of the storage's database."""
    open_run(TrackingSettings(), storage, name="makes the tables").finish()
    shutil.copy(storage / "mlflow.db", tmp_path / "server.db")
    with mlflow_server(f"sqlite:///{tmp_path}/server.db", tmp_path) as address:
        yield address


def check_everything_is_recorded(settings: TrackingSettings, storage: Path, tmp_path: Path) -> None:
    run = open_run(settings, storage, name="first")
    run.parameters({f"section.setting{k}": k for k in range(130)} | {"model.blocks": (5, 7)})
    run.tags({"amir.digest": "ab" * 32})
    run.metrics([(step, {tracking.L1: 1 / step, tracking.RATE: 3.0}) for step in range(1, 700)])
    (tmp_path / "picture.png").write_bytes(b"picture")
    run.file(tmp_path / "picture.png", folder="pictures")
    open_run(settings, storage, name="ignored", run_id=run.id).metrics([(700, {tracking.L1: 0.0})])
    run.finish()

    uri = tracking_uri(settings, storage)
    client = MlflowClient(uri, uri)
    found = client.get_run(run.id)
    assert (found.info.run_name, found.info.status) == ("first", "FINISHED")
    assert len(found.data.params) == 131
    assert found.data.params["model.blocks"] == "(5, 7)"
    assert found.data.tags["amir.digest"] == "ab" * 32
    history = client.get_metric_history(run.id, tracking.L1)
    assert sorted(metric.step for metric in history) == list(range(1, 701))
    assert client.list_artifacts(run.id, "pictures")[0].path == "pictures/picture.png"
    kept = client.download_artifacts(run.id, "pictures/picture.png", str(tmp_path))
    assert Path(kept).read_bytes() == b"picture"


def test_nested_runs_that_were_given_up_are_finished_with_their_parent(storage: Path) -> None:
    parent = open_run(TrackingSettings(), storage, name="parent")
    nested = {
        before: open_run(
            TrackingSettings(),
            storage,
            name=before,
            tags={"mlflow.parentRunId": parent.id, "amir.trial": before},
        )
        for before in ("RUNNING", "KILLED", "FAILED")
    }
    for before, run in nested.items():
        if before != "RUNNING":
            run.finish(before)
    parent.finish_nested()
    uri = tracking_uri(TrackingSettings(), storage)
    client = MlflowClient(uri, uri)
    statuses = [client.get_run(run.id).info.status for run in nested.values()]
    assert statuses == ["FINISHED", "FINISHED", "FAILED"]


def test_sqlite_keeps_everything_in_the_storage(storage: Path, tmp_path: Path) -> None:
    check_everything_is_recorded(TrackingSettings(), storage, tmp_path)
    assert {path.name for path in storage.iterdir()} == {"mlflow.db", "mlflow-artifacts"}


@pytest.mark.timeout(180)
def test_a_server_keeps_everything(server: str, storage: Path, tmp_path: Path) -> None:
    settings = TrackingSettings(uri=server, experiment="served")
    check_everything_is_recorded(settings, tmp_path / "none", tmp_path)
    assert not (tmp_path / "none").exists()


def test_what_is_not_finite_is_not_logged(storage: Path) -> None:
    run = open_run(TrackingSettings(), storage, name="run")
    run.metrics([(1, {tracking.L1: math.nan, tracking.LOSS: math.inf, tracking.RATE: 2.0})])
    run.metrics([])
    uri = tracking_uri(TrackingSettings(), storage)
    assert MlflowClient(uri).get_run(run.id).data.metrics == {tracking.RATE: 2.0}


def test_a_second_run_shares_the_experiment(storage: Path) -> None:
    first, second = (open_run(TrackingSettings(), storage, name=n) for n in ("a", "b"))
    client = MlflowClient(tracking_uri(TrackingSettings(), storage))
    experiments = {client.get_run(run.id).info.experiment_id for run in (first, second)}
    assert len(experiments) == 1
    assert first.id != second.id


def test_the_address_is_set_else_the_environments_else_in_the_storage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert tracking_uri(TrackingSettings(), tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://of.environment")
    assert tracking_uri(TrackingSettings(), tmp_path) == "http://of.environment"
    assert tracking_uri(TrackingSettings(uri="http://set"), tmp_path) == "http://set"
    assert tracking_uri(TrackingSettings(uri="none"), tmp_path) is None


def test_without_mlflow_nothing_is_recorded(tmp_path: Path) -> None:
    run = open_run(TrackingSettings(uri="none"), tmp_path / "none", name="run")
    run.metrics([(1, {tracking.L1: 1.0})])
    run.finish()
    assert isinstance(run, Untracked)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(100)
def test_a_server_that_does_not_answer_is_named_with_the_way_out(storage: Path) -> None:
    settings = TrackingSettings(uri="http://user:secret@127.0.0.1:1")  # nobody listens there
    with pytest.raises(InputError, match=r"MLflow at http://127.*--tracking\.uri none") as caught:
        open_run(settings, storage, name="run")
    assert caught.value.code == "invalid_setting"
    assert "secret@" not in str(caught.value)


def test_a_server_that_goes_away_costs_no_training(
    storage: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = open_run(TrackingSettings(), storage, name="run")
    client = run.client  # type: ignore[attr-defined]

    def away(*_: object, **__: object) -> None:
        raise ConnectionError("connection refused\nby a long story")

    for name in ("log_batch", "set_tag", "log_artifact", "set_terminated"):
        setattr(client, name, away)
    with caplog.at_level(logging.WARNING):
        run.parameters({"a": 1})
        run.tags({"a": "b"})
        run.metrics([(1, {tracking.L1: 1.0})])
        run.file(tmp_path / "picture.png")
        run.finish()
    told = [record.getMessage() for record in caplog.records if record.name == "amir.tracking"]
    whats = ("parameters", "tags", "metrics", "picture.png", "the end of the run")
    assert told == [f"MLflow did not take {what}: connection refused" for what in whats]


def test_names_are_the_ones_dashboards_know() -> None:
    names = [getattr(tracking, n) for n in ("LOSS", "L1", "BALANCE", "LEARNING_RATE", "WAIT")]
    assert json.dumps(names) == json.dumps(
        ["train/loss", "train/l1", "train/balance", "train/learning_rate", "train/data_wait"]
    )
