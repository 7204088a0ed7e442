"""MLflow on SQLite and on a server: what is logged is there; what is away costs no training."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from amir import tracking
from amir.checkpoint import Checkpoint
from amir.config import TrackingSettings
from amir.errors import InputError
from amir.references import find_model
from amir.tracking import Untracked, open_run, tracking_uri

SERVER_SECONDS = 90


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: MLflow takes seconds to make its tables."""
    return tmp_path_factory.mktemp("tracking") / "a storage"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.fixture
def server(storage: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server over a copy of the storage's database."""
    open_run(TrackingSettings(), storage, name="makes the tables").finish()
    shutil.copy(storage / "mlflow.db", tmp_path / "server.db")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    places = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    files = ["--artifacts-destination", str(tmp_path / "files"), "--workers", "1"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), *places, *files],
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that its workers end with it
        )
        try:
            deadline = time.monotonic() + SERVER_SECONDS
            while not answers(address):
                assert process.poll() is None, (tmp_path / "server.log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
                time.sleep(0.2)
            yield address
        finally:
            os.killpg(process.pid, 9)
            process.wait(timeout=10)


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
    settings = TrackingSettings(uri=f"http://user:secret@127.0.0.1:{free_port()}")
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


def test_a_registered_model_is_found_by_version_and_alias(
    save_checkpoint: Callable[..., Checkpoint], storage: Path, tmp_path: Path
) -> None:
    saved = save_checkpoint(tmp_path / "100", trains=False)
    run = open_run(TrackingSettings(), storage, name="run")
    uri = tracking_uri(TrackingSettings(), storage)
    client = MlflowClient(uri, uri)
    client.log_artifacts(run.id, str(saved.folder), "model")
    client.create_registered_model("amir")
    source = f"{client.get_run(run.id).info.artifact_uri}/model"
    client.create_model_version("amir", source, run.id)
    client.set_registered_model_alias("amir", "champion", "1")
    for reference in ("models:/amir/1", "models:/amir@champion"):
        assert find_model(reference, storage=storage).digest == saved.digest
    for reference in ("models:/amir/7", "models:/amir@nobody", "models:/other/1"):
        with pytest.raises(InputError, match=f"has no {reference}: .* Name one of its") as caught:
            find_model(reference, storage=storage)
        assert caught.value.code == "unknown_model"
    with pytest.raises(InputError, match="neither models:/NAME@ALIAS nor models:/NAME/VERSION"):
        find_model("models:/amir", storage=storage)


def test_names_are_the_ones_dashboards_know() -> None:
    names = [getattr(tracking, n) for n in ("LOSS", "L1", "BALANCE", "LEARNING_RATE", "WAIT")]
    assert json.dumps(names) == json.dumps(
        ["train/loss", "train/l1", "train/balance", "train/learning_rate", "train/data_wait"]
    )
