"""What a sweep writes down, and what is read of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amir.errors import InputError
from amir.sweeping.record import Record, Rung, Trial, read_sweep

FIRST = Rung(12, objective=0.5, minimum=0.25, gains={"MRI": 0.25, "CT": 0.75}, seconds=3.0)
SECOND = Rung(36, objective=1.0, minimum=0.5, gains={"MRI": 0.5, "CT": 1.5}, seconds=9.0)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Of a sweep with one trial stopped at its second rung and one that is running."""
    record = Record(tmp_path)
    record.describe({"settings": {"train": {"steps": 108}}})
    record.drawn(Trial(0, {"model.experts": 4}, seed=7))
    record.started(0, 2.0)
    record.rung(0, FIRST)
    record.started(0, 3.0)
    record.drawn(Trial(1, {"model.experts": 8}, seed=7))
    record.rung(0, SECOND)
    record.ended(0, "stopped", steps_run=40)
    return record


def test_what_was_written_is_read(record: Record) -> None:
    sweep = read_sweep(record.folder)
    stopped, running = sweep.trials
    assert (stopped.state, stopped.step, stopped.objective) == ("stopped", 36, 1.0)
    assert stopped.rungs == [FIRST, SECOND]
    assert (stopped.attempts, stopped.startup_seconds, stopped.steps_run) == (2, 5.0, 40)
    assert (running.name, running.state, running.objective) == ("001", "running", None)
    assert sweep.steps == 108


def test_a_repetition_with_another_seed_stands_apart(record: Record) -> None:
    record.drawn(Trial(2, {"model.experts": 4}, seed=8, confirms=0))
    sweep = read_sweep(record.folder)
    assert [trial.number for trial in sweep.search] == [0, 1]
    assert [trial.seed for trial in sweep.confirmations(0)] == [8]


def test_a_line_that_a_kill_cut_short_is_forgotten(record: Record) -> None:
    with record.file.open("a") as file:
        file.write('{"event": "ended", "tri')
    assert read_sweep(record.folder).trials[1].state == "running"
    Record(record.folder).ended(1, "failed", steps_run=5, reason="the loss is nan")
    assert read_sweep(record.folder).trials[1].reason == "the loss is nan"


def test_a_folder_that_is_no_sweep_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no sweep: it has no sweep\.json"):
        read_sweep(tmp_path)


def test_a_newer_format_is_refused(record: Record) -> None:
    file = record.folder / "sweep.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 2}))
    with pytest.raises(InputError, match="is of format 2, this code reads 1"):
        read_sweep(record.folder)
