"""Model versions on every kind of MLflow that a group runs: SQLite, a server, PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from amir.checkpoint import Checkpoint
from amir.config import TrackingSettings
from amir.errors import InputError
from amir.model_registry.lock import locked
from amir.model_registry.versions import CHAMPION, DIGEST, ModelRegistry
from amir.references import find_model
from amir.tracking import open_run
from benchmarks.postgresql import postgresql

MlflowServer = Callable[[str, Path], AbstractContextManager[str]]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: MLflow takes seconds to make its tables."""
    storage = tmp_path_factory.mktemp("registry") / "a storage"
    open_run(TrackingSettings(), storage, name="makes the tables").finish()
    return storage


def check_a_champion_is_registered_found_and_replaced(
    settings: TrackingSettings, storage: Path, save: Callable[..., Checkpoint], folder: Path
) -> None:
    first, second = (save(folder / str(step), seed=step, trains=False) for step in (1, 2))
    run = open_run(settings, storage, name="run")
    registry = ModelRegistry.of(settings, storage)
    assert registry.at("nobody") is None
    made = [
        registry.register(each.folder, run_id=run.id, tags={DIGEST: each.digest})
        for each in (first, second)
    ]
    for version, saved in zip(made, (first, second), strict=True):
        with locked(registry):
            registry.point(CHAMPION, version)
        found = registry.at(CHAMPION)
        assert found is not None
        assert (found.number, found.aliases) == (version.number, (CHAMPION,))
        for reference in (f"models:/amir/{version.number}", "models:/amir@champion"):
            model = find_model(reference, storage=storage, tracking_uri=settings.uri)
            assert model.digest == saved.digest
    assert registry.version(made[0].number).aliases == ()
    (folder / "more").mkdir()
    (folder / "more" / "card.md").write_text("a card")
    registry.add_files(made[1], folder / "more")
    assert (registry.download(made[1]) / "card.md").read_text() == "a card"


def test_sqlite_holds_the_registry(
    storage: Path, save_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    check_a_champion_is_registered_found_and_replaced(
        TrackingSettings(), storage, save_checkpoint, tmp_path
    )


@pytest.mark.timeout(180)
def test_a_server_on_sqlite_holds_the_registry(
    storage: Path,
    mlflow_server: MlflowServer,
    save_checkpoint: Callable[..., Checkpoint],
    tmp_path: Path,
) -> None:
    shutil.copy(storage / "mlflow.db", tmp_path / "server.db")
    with mlflow_server(f"sqlite:///{tmp_path}/server.db", tmp_path) as address:
        check_a_champion_is_registered_found_and_replaced(
            TrackingSettings(uri=address), tmp_path / "none", save_checkpoint, tmp_path
        )


@pytest.mark.slow
@pytest.mark.system("initdb", "pg_ctl")
@pytest.mark.timeout(240)
def test_a_server_on_postgresql_holds_the_registry(
    mlflow_server: MlflowServer,
    free_port: Callable[[], int],
    save_checkpoint: Callable[..., Checkpoint],
    tmp_path: Path,
) -> None:
    with postgresql(free_port()) as uri, mlflow_server(uri, tmp_path) as address:
        check_a_champion_is_registered_found_and_replaced(
            TrackingSettings(uri=address), tmp_path / "none", save_checkpoint, tmp_path
        )


def test_a_version_made_by_hand_is_found_too(
    save_checkpoint: Callable[..., Checkpoint], storage: Path, tmp_path: Path
) -> None:
    saved = save_checkpoint(tmp_path / "100", trains=False)
    run = open_run(TrackingSettings(), storage, name="run")
    client: MlflowClient = ModelRegistry.of(TrackingSettings(), storage).client
    client.log_artifacts(run.id, str(saved.folder), "model")
    client.create_registered_model("of a friend")
    source = f"{client.get_run(run.id).info.artifact_uri}/model"
    client.create_model_version("of a friend", source, run.id)
    assert find_model("models:/of a friend/1", storage=storage).digest == saved.digest


def test_what_the_registry_does_not_hold_is_named(storage: Path) -> None:
    for reference in ("models:/amir/700", "models:/amir@nobody", "models:/other/1"):
        with pytest.raises(InputError, match=f"has no {reference}. Name one of its") as caught:
            find_model(reference, storage=storage)
        assert caught.value.code == "unknown_model"
    with pytest.raises(InputError, match="neither models:/NAME@ALIAS nor models:/NAME/VERSION"):
        find_model("models:/amir", storage=storage)


def test_other_weights_than_the_registered_ones_are_refused(
    storage: Path, save_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    saved = save_checkpoint(tmp_path / "5", trains=False)
    run = open_run(TrackingSettings(), storage, name="run")
    registry = ModelRegistry.of(TrackingSettings(), storage)
    version = registry.register(saved.folder, run_id=run.id, tags={DIGEST: "cd" * 32})
    with pytest.raises(InputError, match=f"registered as model {'cd' * 6}, its files are model"):
        find_model(f"models:/amir/{version.number}", storage=storage)


def test_a_version_with_a_pickle_is_refused_unopened(
    storage: Path, save_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    saved = save_checkpoint(tmp_path / "5", trains=False)
    (saved.folder / "model.pkl").write_bytes(b"not even a pickle")
    run = open_run(TrackingSettings(), storage, name="run")
    registry = ModelRegistry.of(TrackingSettings(), storage)
    version = registry.register(saved.folder, run_id=run.id, tags={DIGEST: saved.digest})
    with pytest.raises(InputError, match=r"holds model\.pkl, which may run code when opened"):
        find_model(f"models:/amir/{version.number}", storage=storage)


@pytest.mark.timeout(100)
def test_a_registry_that_is_down_is_named_without_its_password(tmp_path: Path) -> None:
    settings = TrackingSettings(uri="http://user:secret@127.0.0.1:1")
    with pytest.raises(InputError, match=r"MLflow at http://127\.0\.0\.1:1 did not do") as caught:
        ModelRegistry.of(settings, tmp_path).at(CHAMPION)
    assert caught.value.code == "registry_unavailable"
    assert "secret" not in str(caught.value)
