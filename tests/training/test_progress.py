"""The line that people read while a run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amir.training.progress import Follower, progress_line, told_rows
from amir.training.run_folder import RunFolder


def trained(step: int, *, rate: float = 8.0) -> dict[str, Any]:
    return {
        "step": step,
        "train/l1": 0.02,
        "train/balance": 1.5,
        "train/samples_per_second": rate,
    }


def test_a_line_says_where_the_run_stands_and_how_long_it_takes() -> None:
    rows = [trained(step) for step in range(1, 11)]
    line = progress_line(rows, steps=1000, batch=8)
    assert line == "step 10/1000 | 8.0 crops/s | 16:30 left | l1 0.0200 | balance 1.50"


def test_the_error_of_each_task_is_that_of_the_steps_that_had_a_slice_of_it() -> None:
    rows = [trained(1) | {"train/l1/MRI": 0.01}, trained(2) | {"train/l1/PET": 0.05}]
    assert "l1 0.0200 (MRI 0.0100 PET 0.0500)" in progress_line(rows, steps=9, batch=8)


def test_steps_that_were_left_out_are_counted() -> None:
    rows = [trained(1), {"step": 2, "train/left_out": 1.0}, trained(3)]
    assert "| 1 steps left out" in progress_line(rows, steps=9, batch=8)


def test_hours_are_written_out() -> None:
    assert "3:00:00 left" in progress_line([trained(1)], steps=10801, batch=8)


def test_the_rate_is_that_of_crops_over_time() -> None:
    rows = [trained(1, rate=10), trained(2, rate=2.5)]
    assert "4.0 crops/s" in progress_line(rows, steps=9, batch=8)


def test_the_last_validation_stays_in_the_line() -> None:
    gains = {"validation/MRI/gain": -0.127, "validation/CT/gain": 3.0, "validation/gain": 1.4}
    rows = [trained(4), {"step": 4, **gains}, {"step": 4, "note": "resumed"}, trained(5)]
    line = progress_line(rows, steps=9, batch=8)
    assert line.endswith("gain at 4: MRI -0.13 CT +3.00 dB")


def test_a_change_of_the_workers_is_told_until_the_next() -> None:
    def resumed(step: int, workers: int, before: int) -> dict[str, Any]:
        return {"step": step, "note": "resumed", "train/workers": workers, "before": before}

    rows = [resumed(4, 1, 2), trained(5), resumed(8, 1, 1), *(trained(n) for n in range(9, 70))]
    line = progress_line(told_rows(rows), steps=99, batch=8)
    assert "| 1 workers since 4, 2 before: other rounding and gate noise" in line
    line = progress_line(told_rows([*rows, resumed(70, 2, 1)]), steps=99, batch=8)
    assert "| 2 workers since 70, 1 before" in line
    assert "since 4" not in line


def test_a_run_just_resumed_has_a_line_too() -> None:
    assert progress_line([{"step": 4, "note": "resumed"}], steps=9, batch=8) == "step 4/9"


def test_a_follower_prints_the_news_at_the_end_and_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path)
    with Follower(folder, steps=9, batch=8):
        folder.append([trained(1), trained(2)])
    assert capsys.readouterr().out.startswith("step 2/9 | 8.0 crops/s")
    with Follower(RunFolder(tmp_path / "not-there"), steps=9, batch=8):
        pass
    assert capsys.readouterr().out == ""
