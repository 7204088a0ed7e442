"""Training curves."""

from __future__ import annotations

from pathlib import Path

from amir.evaluation.report.curves import draw_curves, read_metrics


def test_a_checkpoint_without_a_run_has_no_curves(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "storage" / "run" / "8") == []
    assert draw_curves([], step=8) == []


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "tr')
    assert read_metrics(tmp_path / "checkpoints" / "8") == [{"step": 1}]


def test_curves_say_in_words_what_they_show() -> None:
    rows = [{"step": k, "train/l1": 1 / k} for k in range(1, 1001)]
    rows += [{"step": 1000, "validation/gain": 1.0, "validation/PET/gain": 6.5}]
    loss, gain = draw_curves(rows, step=1000)
    assert "in 1000 steps" in loss.text
    assert "PET +6.50 dB" in gain.text
    assert len(loss.svg) < 60_000
