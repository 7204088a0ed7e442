"""What the first worker tells: metrics.jsonl for whoever looks at the folder, MLflow for whoever
looks there.
"""

from __future__ import annotations

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
        rows = [(report.step, self._row(report)) for report in reports]
        self.folder.append([{"step": step, **row} for step, row in rows])
        self.record.metrics(rows)

    def validated(self, step: int, scores: Scores) -> None:
        if not scores:  # every target constant: nothing to tell
            return
        worst = min(score.gain for score in scores.values())
        row = {**flat_scores(scores), tracking.GAIN: mean_gain(scores), tracking.GAIN_WORST: worst}
        self.folder.append([{"step": step, **row}])
        self.record.metrics([(step, row)])

    def _row(self, report: StepReport) -> dict[str, float]:
        contrast = {tracking.CONTRAST: report.contrast} if report.contrast else {}
        return contrast | {
            tracking.LOSS: report.loss,
            tracking.L1: report.l1,
            tracking.BALANCE: report.balance,
            tracking.LEARNING_RATE: report.learning_rate,
            tracking.RATE: self.batch / max(report.seconds, 1e-9),
            tracking.WAIT: report.waited / max(report.seconds, 1e-9),
        }
