"""What is saved is what is taken up; what is kept is the latest and the best."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from amir import checkpoint, durable
from amir.dataset.reader import Batch, Reader
from amir.modality import Modality
from amir.references import best_step
from amir.training.alone import train_alone
from amir.training.background import Background
from amir.training.saving import prune, save_checkpoint
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
    [row] = resumed.folder.rows()
    assert row.pop("time") > 0
    assert row == {
        "step": 10,
        "note": "resumed by 1 workers, saved by 1",
        "train/workers": 1,
        "before": 1,
        "again": 0,
    }


def test_a_run_resumed_by_other_workers_says_what_is_different(
    run: Any, local_run: Callable[..., Any]
) -> None:
    save_checkpoint(
        run.state,
        run.folder,
        settings=run.settings_of_checkpoint(),
        scores={},
        workers=2,
        keep=2,
    )
    [row] = local_run(run.settings).folder.rows()
    assert (row["before"], row["train/workers"]) == (2, 1)
    assert "other rounding and other gate noise" in row["note"]


def test_a_checkpoint_without_training_state_resumes_nothing(
    run: Any, local_run: Callable[..., Any], save_checkpoint: Callable[..., Any]
) -> None:
    save_checkpoint(run.folder.checkpoints / "10", trains=False)
    with pytest.raises(ValueError, match="no run can resume"):
        local_run(run.settings)


def test_what_a_kill_left_half_written_is_removed_when_the_run_goes_on(
    run: Any, local_run: Callable[..., Any]
) -> None:
    save(run, 10, 0.1)
    half = run.folder.checkpoints / ".0123.partial"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half")
    local_run(run.settings)
    assert sorted(path.name for path in run.folder.checkpoints.iterdir()) == ["10", "best"]


def test_a_slow_disk_does_not_stop_a_training_that_saves_in_the_background(
    train_settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    beyond, flush, batches = Event(), durable.flush, Reader.batches

    def slow_flush(path: Path) -> None:
        if "checkpoints" in path.parts:
            assert beyond.wait(60), "the training waited for the disk"
        flush(path)

    def announced(reader: Any, start: int, end: int) -> Generator[Batch, None, None]:
        for batch in batches(reader, start, end):
            if int(batch["step"][0]) == 5:  # the checkpoint of step 4 is being written
                beyond.set()
            yield batch

    chosen = {"checkpoints.every": 4, "checkpoints.background": True, "steps": 7}
    with monkeypatch.context() as patched:
        patched.setattr(durable, "flush", slow_flush)
        patched.setattr(Reader, "batches", announced)
        slow = train_alone(train_settings(run="slow", **chosen))
    waiting = train_alone(
        train_settings(run="waiting", **chosen | {"checkpoints.background": False})
    )
    assert kept(slow.checkpoints) == kept(waiting.checkpoints) == [4, 7]
    for step in ("4", "7"):
        mine, theirs = (checkpoint.load(f.checkpoints / step) for f in (slow, waiting))
        assert mine.weights_sha256 == theirs.weights_sha256, step


def test_what_goes_wrong_in_the_background_is_told() -> None:
    def fail() -> None:
        raise OSError(28, "no room")

    with Background() as background:
        background.start(fail)
        with pytest.raises(OSError, match="no room"):
            background.start(fail)
    with pytest.raises(OSError, match="no room"), Background() as background:
        background.start(fail)
