"""Shards to a trained network and its table on Ray: every part once, together, and under fire."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from amir import checkpoint
from amir.code_version import code_version
from amir.config import EvaluateSettings, PrepareSettings, TrainSettings
from amir.dataset import loading
from amir.dataset.loading import ray_batches
from amir.dataset.manifest import read_manifest
from amir.dataset.plan import Plan
from amir.dataset.prepare import prepare, ray_map
from amir.dataset.reader import Reader, build_index
from amir.errors import InputError
from amir.modality import Modality
from amir.parallel import parallel_map
from amir.training import ray_trainer
from amir.training.ray_trainer import Result
from amir.training.run_folder import RunFolder

STEPS, EVERY = 60, 10
# Two workers and their feeds take the last of the cluster's four CPUs: more would hang for ever.
RUN = {
    "steps": STEPS,
    "checkpoints.every": EVERY,
    "validation.every": 30,
    "workers.count": 2,
    "workers.cpus": 1.75,
    "workers.threads": 1,
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture
def run_settings(
    train_settings: Callable[..., TrainSettings], storage: Path
) -> Callable[..., TrainSettings]:
    """run_settings(name, ...): of the run that all of these tests make, or of another such."""

    def settings(name: str, **chosen: Any) -> TrainSettings:
        return train_settings(run=name, storage=storage, **RUN | chosen)

    return settings


@pytest.fixture(scope="module")
def finished() -> dict[str, Result]:
    """The undisturbed run, once it is made."""
    return {}


@pytest.fixture
def undisturbed(
    ray_cluster: None, run_settings: Callable[..., TrainSettings], finished: dict[str, Result]
) -> Result:
    """A run of two workers from beginning to end, recorded in SQLite; made once for this file."""
    if not finished:
        finished["run"] = ray_trainer.run(run_settings("whole", **{"tracking.uri": None}))
    return finished["run"]


def losses(folder: RunFolder) -> dict[int, float]:
    """Step -> loss; each step once."""
    rows = [row for row in folder.rows() if "train/loss" in row]
    steps = [row["step"] for row in rows]
    assert steps == list(range(1, STEPS + 1))
    return {row["step"]: row["train/loss"] for row in rows}


def test_a_run_leaves_checkpoints_metrics_and_a_picture(undisturbed: Result) -> None:
    folder = undisturbed.folder
    assert folder.status() == "finished"
    assert checkpoint.saved_steps(folder.checkpoints)[-2:] == [STEPS - EVERY, STEPS]
    assert undisturbed.best.step in (STEPS // 2, STEPS)
    assert set(undisturbed.best.scores) == set(Modality)
    assert np.isfinite(list(losses(folder).values())).all()
    assert (folder.path / "validation.png").read_bytes().startswith(b"\x89PNG")
    assert {file.name for file in folder.path.iterdir()} == {
        "checkpoints",
        "lock",
        "metrics.jsonl",
        "mlflow_run_id",
        "mlflow_sent",
        "settings.yaml",
        "state.json",
        "validation.png",
    }


def test_mlflow_holds_the_run(undisturbed: Result, tiny_dataset: Path, storage: Path) -> None:
    run_id = undisturbed.folder.mlflow_run_id()
    with sqlite3.connect(storage / "mlflow.db") as database:

        def select(what: str, table: str) -> list[Any]:
            query = f"SELECT {what} FROM {table} WHERE run_uuid = ?"
            return database.execute(query, (run_id,)).fetchall()

        parameters = dict(select("key, value", "params"))
        tags = dict(select("key, value", "tags"))
        metrics = select("key, step, value", "metrics")
        [(status, artifacts)] = select("status, artifact_uri", "runs")

    assert parameters["optimizer.learning_rate"] == "0.0002"
    assert parameters["workers.count"] == "2"
    assert parameters["model.top_k"] == "2"
    logged = {name: {step: v for key, step, v in metrics if key == name} for name, *_ in metrics}
    assert logged["train/loss"] == losses(undisturbed.folder)
    for name in ("l1", "balance", "learning_rate", "samples_per_second", "data_wait"):
        assert len(logged[f"train/{name}"]) == STEPS
    for task in Modality:
        assert set(logged[f"validation/{task}/psnr"]) == {STEPS // 2, STEPS}
    assert logged["validation/gain"][undisturbed.best.step] == max(
        logged["validation/gain"].values()
    )
    assert tags["amir.dataset"] == read_manifest(tiny_dataset).dataset_digest
    assert tags["amir.code"] == code_version()
    assert tags["amir.ray_job"] == "local"
    assert tags["amir.digest"] == undisturbed.best.digest
    assert status == "FINISHED"
    files = {file.name for file in Path(artifacts.removeprefix("file://")).iterdir()}
    assert {"settings.yaml", "validation.png"} <= files


def test_the_same_command_again_is_refused(
    undisturbed: Result, run_settings: Callable[..., TrainSettings]
) -> None:
    with pytest.raises(InputError, match=r"run whole is finished after 60 steps.*--run.*--steps"):
        ray_trainer.run(run_settings("whole", **{"tracking.uri": None}))


@pytest.mark.timeout(300)
def test_a_run_whose_worker_is_killed_ends_as_the_undisturbed_one(
    undisturbed: Result, run_settings: Callable[..., TrainSettings]
) -> None:
    folder = RunFolder(undisturbed.folder.path.with_name("shot"))
    hunter = Hunter(folder, after_step=2 * EVERY)
    hunter.start()
    result = ray_trainer.run(run_settings("shot"))
    hunter.join(timeout=5)

    assert hunter.saved_then, "no worker was killed while the run went on"
    [resumed] = [row["step"] for row in folder.rows() if "note" in row]
    # A checkpoint every ten steps, and the latest was taken up: no more than ten were lost.
    assert hunter.saved_then <= resumed < STEPS
    assert losses(folder) == losses(undisturbed.folder)
    assert result.best.step == undisturbed.best.step
    assert result.best.digest == undisturbed.best.digest


class Hunter(threading.Thread):
    """Kills one of the training workers as soon as the run has saved this step."""

    def __init__(self, folder: RunFolder, *, after_step: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.after_step, self.saved_then = folder, after_step, 0

    def run(self) -> None:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and not self.saved_then:
            time.sleep(0.01)
            saved = checkpoint.saved_steps(self.folder.checkpoints)
            if saved and saved[-1] >= self.after_step:
                self.saved_then = saved[-1]
                os.kill(max(training_workers()), signal.SIGKILL)


def training_workers() -> list[int]:
    """Process ids of Ray Train's workers below this process."""
    processes = {
        int(entry.name): (parent_of(entry), (entry / "cmdline").read_bytes())
        for entry in running_processes()
    }
    ours = {os.getpid()}
    for _ in range(3):  # this process, its raylet, its workers
        ours |= {pid for pid, (parent, _) in processes.items() if parent in ours}
    return [pid for pid in ours & set(processes) if b"RayTrainWorker" in processes[pid][1]]


def running_processes() -> Iterator[Path]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (entry / "cmdline").is_file():
            yield entry


def parent_of(entry: Path) -> int:
    return int((entry / "stat").read_text().rpartition(")")[2].split()[1])


def test_wrong_input_met_by_a_worker_ends_the_run_at_once_with_its_code(
    ray_cluster: None,
    run_settings: Callable[..., TrainSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_trainer, "train_worker", refusing_worker)
    with pytest.raises(InputError, match="a shard has gone") as caught:
        ray_trainer.run(run_settings("refused", **{"workers.count": 1}))
    assert caught.value.code == "invalid_dataset"
    attempts = (run_settings("refused").storage / "refused" / "attempts").read_text()
    assert attempts == "x"


def refusing_worker(config: dict[str, Any]) -> None:
    with (config["task"].folder.path / "attempts").open("a") as file:
        file.write("x")
    raise InputError("invalid_dataset", "a shard has gone")


def test_prepared_on_ray_a_dataset_is_the_same(
    ray_cluster: None, phantom_cohort: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    done: list[int] = []
    manifest = prepare(
        PrepareSettings(cohort=phantom_cohort, out=tmp_path / "dataset"),
        each=ray_map,
        report=lambda ready, _: done.append(ready),
    )
    assert manifest == read_manifest(tiny_dataset)
    assert done == list(range(13))


def new_reader(folder: Path) -> Reader:
    index = build_index(read_manifest(folder), "train", tuple(Modality))
    return Reader(folder, Plan(index, 3, 4, "uniform"), crop=16, flips=True)


@pytest.mark.parametrize(("start", "rank", "run"), [(0, 0, 1000), (21, 1, 2)])
def test_the_feed_on_ray_is_that_of_the_reader(
    ray_cluster: None,
    tiny_dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: int,
    rank: int,
    run: int,
) -> None:
    monkeypatch.setattr(loading, "CROPS_PER_BLOCK", 10)
    monkeypatch.setattr(loading, "BLOCKS_PER_RUN", run)
    place = {"rank": rank, "workers": 2}
    fed = list(ray_batches(new_reader(tiny_dataset), start, 40, **place, actors=2))
    plain = list(new_reader(tiny_dataset).batches(start, 40, **place))
    assert len(fed) == 40 - start
    for batch, expected in zip(fed, plain, strict=True):
        assert batch.keys() == expected.keys()
        for name, array in expected.items():
            assert np.array_equal(batch[name], array), name


class Picky:
    """A worker of parallel_map that refuses an item, or everything from the start."""

    def __init__(self, refused: int | None) -> None:
        if refused is None:
            raise InputError("invalid_checkpoint", "no model here")
        self.refused = refused

    def __call__(self, item: int) -> dict[str, Any]:
        if item == self.refused:
            raise InputError("unreadable", f"item {item} is broken")
        return {"item": np.array([item])}


@pytest.mark.parametrize(
    ("refused", "code", "message"),
    [(2, "unreadable", "item 2 is broken"), (None, "invalid_checkpoint", "no model here")],
)
def test_an_input_error_on_ray_arrives_as_it_was_raised(
    ray_cluster: None, refused: int | None, code: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        list(parallel_map(lambda: Picky(refused), range(4), actors=1, cpus=1))
    assert (caught.value.code, str(caught.value)) == (code, message)


def test_another_error_on_ray_arrives_with_where_it_was_raised(ray_cluster: None) -> None:
    def fail(item: int) -> None:
        raise OSError(28, f"no room for item {item}")

    with pytest.raises(OSError, match="no room for item 0") as caught:
        list(parallel_map(lambda: fail, [0], actors=1, cpus=1))
    assert caught.value.errno == 28
    assert "in fail" in str(caught.value.__cause__)


def test_evaluation_leaves_scores_tables_and_a_picture(
    undisturbed: Result, tiny_dataset: Path, storage: Path, tmp_path: Path
) -> None:
    from amir.evaluation.evaluate import evaluate

    done: list[tuple[int, int]] = []
    evaluation = evaluate(
        EvaluateSettings(data=tiny_dataset, models=("whole",), out=tmp_path, storage=storage),
        report=lambda ready, every: done.append((ready, every)),
    )
    assert done == [(1, 3), (2, 3), (3, 3)]
    written = {file.name for file in tmp_path.iterdir() if file.is_file()}
    assert written == {
        "scores.parquet",
        "evaluation.json",
        "table.md",
        "table.tex",
        "table.csv",
        "patients.md",
        "patients.csv",
        "comparisons.csv",
        "picture.png",
    }
    scores = pq.read_table(tmp_path / "scores.parquet")
    test_slices = read_manifest(tiny_dataset).slices("test")
    assert scores.num_rows == 3 * test_slices
    digests = set(zip(*(scores[c].to_pylist() for c in ("method", "model_digest")), strict=True))
    assert ("AMIR", undisturbed.best.digest) in digests
    assert (tmp_path / "table.md").read_text().startswith(evaluation.text)
    assert evaluation.table.methods == ("Degraded input", "Gaussian filter", "AMIR")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_cluster_too_small_is_refused_before_anything_is_written(
    ray_cluster: None, run_settings: Callable[..., TrainSettings], storage: Path
) -> None:
    with pytest.raises(InputError, match=r"needs 4.25 CPUs, the cluster has 4.*workers") as caught:
        ray_trainer.run(run_settings("vast", **{"workers.count": 1, "workers.cpus": 4}))
    assert caught.value.code == "too_few_resources"
    assert not (storage / "vast").exists()
