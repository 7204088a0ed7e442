"""What is saved is what is taken up; what is kept is the latest and the best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amir import checkpoint
from amir.modality import Modality
from amir.references import best_step
from amir.training.state import prune
from amir.training.validation import TaskScore


def kept(folder: Path) -> list[int]:
    return checkpoint.saved_steps(folder)


@pytest.fixture
def run(train_settings: Callable[..., Any], local_run: Callable[..., Any]) -> Any:
    return local_run(train_settings(**{"checkpoints.keep": 2}))


def save(run: Any, step: int, gain: float | None) -> None:
    """Save at a step, validated with this gain or not at all."""
    run.state.step = step
    run.save({} if gain is None else {Modality.CT: TaskScore(30.0, 0.9, 5.0, gain)})


def test_the_latest_and_the_best_are_kept(run: Any) -> None:
    for step, gain in ((10, 0.1), (20, 0.7), (30, None), (40, 0.4), (50, 0.5), (60, None)):
        save(run, step, gain)
    assert kept(run.folder.checkpoints) == [20, 50, 60]
    assert best_step(run.folder.path) == 20


def test_pruning_without_a_best_keeps_the_latest(
    tmp_path: Path, save_checkpoint: Callable[..., Any]
) -> None:
    for step in (9, 10, 11):
        save_checkpoint(tmp_path / str(step))
    prune(tmp_path, keep=1, best=None)
    assert kept(tmp_path) == [11]


def test_the_best_is_remembered_across_a_resume(run: Any, local_run: Callable[..., Any]) -> None:
    save(run, 10, 0.7)
    save(run, 20, 0.1)
    resumed = local_run(run.settings)
    assert (resumed.state.step, resumed.state.best_step, resumed.state.best_gain) == (20, 10, 0.7)
    save(resumed, 30, 0.6)
    assert best_step(run.folder.path) == 10


def test_a_marker_left_behind_by_a_kill_is_put_right(
    run: Any, local_run: Callable[..., Any]
) -> None:
    save(run, 10, 0.7)
    (run.folder.checkpoints / "best").unlink()
    local_run(run.settings)
    assert best_step(run.folder.path) == 10


def test_a_damaged_checkpoint_is_passed_over_and_its_steps_forgotten(
    run: Any, local_run: Callable[..., Any]
) -> None:
    save(run, 10, 0.1)
    save(run, 20, 0.7)
    save(run, 30, 0.9)
    run.folder.append([{"step": step, "train/loss": 0.5} for step in (10, 20, 21, 30)])
    with (run.folder.checkpoints / "30" / "weights.safetensors").open("r+b") as file:
        file.write(b"damaged")
    resumed = local_run(run.settings)
    assert resumed.state.step == 20
    assert sorted(resumed.losses()) == [10, 20]
    assert best_step(run.folder.path) == 20


def test_a_best_that_was_removed_for_a_damaged_one_is_not_believed(
    run: Any, local_run: Callable[..., Any]
) -> None:
    for step, gain in ((10, 0.5), (20, 0.1), (30, 0.9)):
        save(run, step, gain)
    assert kept(run.folder.checkpoints) == [20, 30]
    (run.folder.checkpoints / "30" / "scores.json").write_text("{}")
    resumed = local_run(run.settings)
    assert (resumed.state.step, resumed.state.best_step) == (20, None)
    assert best_step(run.folder.path) is None


def test_a_resumed_run_says_so_in_its_metrics(run: Any, local_run: Callable[..., Any]) -> None:
    save(run, 10, 0.1)
    resumed = local_run(run.settings)
    assert resumed.folder.rows() == [
        {"step": 10, "note": "resumed by 1 workers, saved by 1", "again": 0}
    ]


def test_a_checkpoint_without_training_state_resumes_nothing(
    run: Any, local_run: Callable[..., Any], save_checkpoint: Callable[..., Any]
) -> None:
    save_checkpoint(run.folder.checkpoints / "10", trains=False)
    with pytest.raises(ValueError, match="no run can resume"):
        local_run(run.settings)
