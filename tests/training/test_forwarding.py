"""Lines of metrics.jsonl reach MLflow in order and once, later where it was away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from amir.config import StatusSettings, TrackingSettings
from amir.training import forwarding
from amir.training.backfill import backfilled
from amir.training.forwarding import Forwarder
from amir.training.run_folder import RunFolder

Row = tuple[int, dict[str, float]]


class Recorder:
    """Takes rows while it is there. refuses: says no from this call on, counted from 1."""

    id = "recorded"

    def __init__(self) -> None:
        self.calls, self.is_there = 0, True
        self.rows: list[Row] = []
        self.times: list[int] = []
        self.taken = threading.Event()

    def metrics(self, rows: Sequence[Row], *, times: Sequence[int] = ()) -> bool:
        self.calls += 1
        if self.is_there:
            self.rows += rows
            self.times += times
            self.taken.set()
        return self.is_there

    def steps(self) -> list[int]:
        return [step for step, _ in self.rows]


def lines(first: int, last: int) -> list[dict[str, Any]]:
    return [{"step": n, "time": 1000 + n, "train/loss": 1 / n} for n in range(first, last + 1)]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "storage" / "first")
    folder.path.mkdir(parents=True)
    folder.append(lines(1, 120))
    return folder


def test_lines_are_sent_in_order_once_and_with_their_time(folder: RunFolder) -> None:
    recorder = Recorder()
    assert Forwarder(folder, recorder).send()
    folder.append(lines(121, 130))
    assert Forwarder(folder, recorder).send()  # another process: nothing is in memory
    assert recorder.steps() == list(range(1, 131))
    assert recorder.times == [1000 + n for n in range(1, 131)]
    assert recorder.calls == 4  # 50 + 50 + 20, then 10


def test_what_was_not_taken_is_sent_when_mlflow_is_back(folder: RunFolder) -> None:
    recorder = Recorder()
    forwarder = Forwarder(folder, recorder)
    recorder.is_there = False
    assert not forwarder.send()
    assert forwarder.unsent() == 120
    folder.append(lines(121, 125))
    recorder.is_there = True
    assert forwarder.send()
    assert recorder.steps() == list(range(1, 126))
    assert forwarder.unsent() == 0


def test_steps_that_are_done_again_are_sent_again(folder: RunFolder) -> None:
    recorder = Recorder()
    Forwarder(folder, recorder).send()
    folder.forget_after(100)
    folder.append(lines(101, 103))
    Forwarder(folder, recorder).send()
    assert recorder.steps() == [*range(1, 121), 101, 102, 103]


def test_half_a_line_waits_and_notes_and_slices_are_no_metrics(folder: RunFolder) -> None:
    recorder = Recorder()
    folder.append([{"step": 120, "note": "resumed"}])
    folder.append([{"step": 121, "time": 5, "train/left_out": 1.0, "slices": ["p/s/1 (CT)"]}])
    with folder.metrics.open("a") as file:
        file.write('{"step": 122, "ti')
    Forwarder(folder, recorder).send()
    assert recorder.rows[-1] == (121, {"train/left_out": 1.0})


def test_a_thread_sends_while_others_work(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "SECONDS_BETWEEN_CALLS", 0.01)
    recorder = Recorder()
    with Forwarder(folder, recorder):
        assert recorder.taken.wait(10)
    assert recorder.steps()[:50] == list(range(1, 51))


def test_at_the_end_what_is_left_is_told_with_the_command_that_sends_it(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    recorder.is_there = False
    Forwarder(folder, recorder).send_within(0)
    assert "120 lines of metrics.jsonl are not in MLflow" in caplog.text
    assert f"--run first --storage {folder.path.parent} --backfill" in caplog.text


def test_the_status_job_gives_mlflow_what_it_lacks(
    train_settings: Callable[..., Any], tmp_path: Path
) -> None:
    from amir.training.record import open_record

    tracking = TrackingSettings(uri=f"sqlite:///{tmp_path}/mlflow.db")
    settings = train_settings(run="first", **{"tracking.uri": tracking.uri})
    folder = RunFolder(settings.storage / "first")
    folder.path.mkdir(parents=True)
    record = open_record(settings, "ab" * 32, folder)
    folder.append(lines(1, 70))
    folder.set_status("finished", digest="cd" * 32)
    asked = StatusSettings(storage=settings.storage, tracking=tracking)
    assert list(backfilled(asked)) == ["first: 70 lines sent to MLflow"]
    assert list(backfilled(asked)) == ["first: 0 lines sent to MLflow"]
    found = record.client.get_run(record.id)  # type: ignore[attr-defined]
    assert found.info.status == "FINISHED"
    assert found.data.tags["amir.digest"] == "cd" * 32
    history = record.client.get_metric_history(record.id, "train/loss")  # type: ignore[attr-defined]
    assert sorted((m.step, m.timestamp) for m in history) == [(n, 1000 + n) for n in range(1, 71)]
