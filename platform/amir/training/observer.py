"""What the first worker tells: metrics.jsonl for whoever looks at the folder, MLflow for whoever
looks there.
"""

from __future__ import annotations

from typing import Any

from amir import tracking
from amir.tracking import Run
from amir.training.loop import StepReport
from amir.training.run_folder import RunFolder
from amir.training.validation import Scores, flat_scores, mean_gain


class RunObserver:
    """batch: crops per step over all workers."""

    def __init__(self, folder: RunFolder, record: Run, *, batch: int) -> None:
        self.folder, self.record, self.batch = folder, record, batch

    def steps(self, reports: list[StepReport]) -> None:
        self.folder.append([{"step": report.step, **self._line(report)} for report in reports])
        self.record.metrics([(report.step, self._row(report)) for report in reports])

    def validated(self, step: int, scores: Scores) -> None:
        if not scores:  # every target constant: nothing to tell
            return
        worst = min(score.gain for score in scores.values())
        row = {**flat_scores(scores), tracking.GAIN: mean_gain(scores), tracking.GAIN_WORST: worst}
        self.folder.append([{"step": step, **row}])
        self.record.metrics([(step, row)])

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
