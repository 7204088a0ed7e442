"""What the first worker tells: lines of metrics.jsonl, which go on to MLflow by themselves."""

from __future__ import annotations

import time
from typing import Any

from amir import tracking
from amir.training.loop import StepReport
from amir.training.run_folder import RunFolder
from amir.training.validation import Scores, flat_scores, mean_gain


class RunObserver:
    """batch: crops per step over all workers."""

    def __init__(self, folder: RunFolder, *, batch: int) -> None:
        self.folder, self.batch = folder, batch

    def steps(self, reports: list[StepReport]) -> None:
        now = _milliseconds()
        lines = [{"step": report.step, "time": now, **self._line(report)} for report in reports]
        self.folder.append(lines)

    def validated(self, step: int, scores: Scores) -> None:
        if not scores:  # every target constant: nothing to tell
            return
        worst = min(score.gain for score in scores.values())
        row = {**flat_scores(scores), tracking.GAIN: mean_gain(scores), tracking.GAIN_WORST: worst}
        self.folder.append([{"step": step, "time": _milliseconds(), **row}])

    def _line(self, report: StepReport) -> dict[str, Any]:
        """As metrics.jsonl has it: a step that was left out names its slices."""
        slices = {"slices": list(report.left_out)} if report.left_out else {}
        return self._row(report) | slices

    def _row(self, report: StepReport) -> dict[str, float]:
        if report.left_out:
            return {tracking.LEFT_OUT: 1.0}
        contrast = {tracking.CONTRAST: report.contrast} if report.contrast else {}
        by_task = {f"{tracking.L1}/{task}": error for task, error in report.by_task.items()}
        return (
            contrast
            | by_task
            | {
                tracking.LOSS: report.loss,
                tracking.L1: report.l1,
                tracking.BALANCE: report.balance,
                tracking.LEARNING_RATE: report.learning_rate,
                tracking.RATE: self.batch / max(report.seconds, 1e-9),
                tracking.WAIT: report.waited / max(report.seconds, 1e-9),
            }
        )


def _milliseconds() -> int:
    """Since 1970."""
    return time.time_ns() // 1_000_000
