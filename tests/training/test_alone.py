"""A run without Ray: the same folder, the same checkpoints, taken up where it was killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from amir import checkpoint
from amir.dataset.manifest import read_manifest
from amir.dataset.reader import Reader
from amir.errors import InputError
from amir.training import ray_trainer, worker
from amir.training.alone import train_alone
from amir.training.attempt import attempt
from amir.training.progress import progress_line
from amir.training.worker import build_state, work, worker_task


class KilledError(Exception):
    """What interrupts a run in these tests."""


def losses(folder: Any) -> dict[int, float]:
    return {row["step"]: row["train/loss"] for row in folder.rows() if "train/loss" in row}


def test_a_run_alone_leaves_what_any_run_leaves(train_settings: Callable[..., Any]) -> None:
    settings = train_settings(**{"validation.every": 4, "checkpoints.every": 4})
    folder = train_alone(settings)
    saved = checkpoint.latest(folder.checkpoints)
    assert folder.status() == "finished"
    assert saved is not None
    assert saved.settings["dataset_digest"] == read_manifest(settings.data.path).dataset_digest
    assert [row["step"] for row in folder.rows() if "validation/gain" in row] == [4, 8]
    with pytest.raises(InputError, match="finished after 8 steps"):
        train_alone(settings)


def test_a_killed_run_alone_goes_on_from_its_checkpoint(
    train_settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"checkpoints.every": 3, "steps": 8}
    whole = train_alone(train_settings(run="whole", **chosen))
    with monkeypatch.context() as patched:
        patched.setattr(worker, "save_checkpoint", killed_after(2))
        with pytest.raises(KilledError):
            train_alone(train_settings(run="killed", **chosen))
    again = train_alone(train_settings(run="killed", **chosen))
    assert losses(again) == losses(whole)
    assert any("resumed" in row.get("note", "") for row in again.rows())


def killed_after(saves: int) -> Callable[..., None]:
    """save_checkpoint, that many times; then the end."""
    left = iter(range(saves))
    save = worker.save_checkpoint

    def saving(*given: Any, **named: Any) -> None:
        if next(left, None) is None:
            raise KilledError
        save(*given, **named)

    return saving


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_alone_is_the_run_on_ray_bit_for_bit(
    ray_cluster: None, train_settings: Callable[..., Any]
) -> None:
    chosen = {"checkpoints.every": 4, "validation.every": 4}
    alone = train_alone(train_settings(run="alone", **chosen))
    result = ray_trainer.run(train_settings(run="ray", **chosen))
    assert losses(result.folder) == losses(alone)
    best = checkpoint.load(alone.checkpoints / str(result.best.step))
    assert best.digest == result.best.digest


def test_shards_that_are_left_out_are_told_in_the_run(train_settings: Callable[..., Any]) -> None:
    settings = train_settings()
    manifest = read_manifest(settings.data.path)
    with attempt(settings, manifest) as (folder, record):
        task = worker_task(settings, manifest, folder, record, ["shard a is missing"])
        device = torch.device("cpu")
        work(task, build_state(settings, device), feed=Reader.batches, device=device)
    [row] = [row for row in folder.rows() if "note" in row]
    assert row["data/shards_left_out"] == 1
    assert "shard a is missing" in row["note"]
    assert "| without 1 damaged shards" in progress_line(folder.rows(), steps=8, batch=6)
