"""A run's folder tells how it stands, whoever is training it and whatever became of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from amir import tracking
from amir.checkpoint import Checkpoint
from amir.config import StatusSettings, TrainSettings
from amir.errors import InputError
from amir.training.run_folder import RunFolder
from amir.training.status import statuses

Start = Callable[..., RunFolder]


@pytest.fixture
def start(train_settings: Callable[..., TrainSettings], tmp_path: Path) -> Start:
    """The folder of a run as a training of 8 steps that did so many of them leaves it."""

    def make(name: str, *, steps: int) -> RunFolder:
        folder = RunFolder(tmp_path / "storage" / name)
        folder.write_settings(train_settings(), "ab" * 32)
        folder.set_status("running")
        row = {tracking.L1: 0.02, tracking.BALANCE: 0.5, tracking.RATE: 3.0}
        if steps:
            folder.append([{"step": step, **row} for step in range(1, steps + 1)])
        return folder

    return make


def told(folder: RunFolder, run: str | None = None) -> list[str]:
    return list(statuses(StatusSettings(storage=folder.path.parent, run=run)))


def test_a_running_one_tells_step_rate_time_left_and_losses(
    start: Start, save_checkpoint: Callable[..., Checkpoint]
) -> None:
    folder = start("first", steps=5)
    save_checkpoint(folder.checkpoints / "4")
    assert told(folder) == [
        "first: running\n"
        "  step 5/8 | 3.0 crops/s | 0:06 left | l1 0.0200 | balance 0.50\n"
        "  checkpoints at steps 4"
    ]


def test_one_that_says_nothing_for_long_is_told_as_silent(start: Start) -> None:
    folder = start("first", steps=2)
    long_ago = time.time() - 600
    os.utime(folder.metrics, (long_ago, long_ago))
    [text] = told(folder)
    assert "running, silent for 10:0" in text
    assert "goes on where it was" in text


def test_the_latest_news_come_last_and_one_can_be_asked_for(start: Start) -> None:
    first, second = start("first", steps=2), start("second", steps=0)
    first.set_status("finished")
    os.utime(second.settings, (1, 1))
    assert [text.split("\n")[0] for text in told(first)][-1] == "first: finished"
    [only] = told(first, "second")
    assert "step 0/8\n  no checkpoint yet" in only


def test_a_storage_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run nobody in .*; say where with --storage"):
        list(statuses(StatusSettings(storage=tmp_path, run="nobody")))
