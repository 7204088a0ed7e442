"""How a sweep is going: a line for each validation and each end, and the best so far in MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from amir.config import SweepSettings
from amir.sweeping.record import Trial
from amir.tracking import Run
from amir.training.progress import duration

BEST, ENDED = "sweep/best_gain", "sweep/trials"


def silent(text: str) -> None:
    """For who wants no lines."""


class Course:
    """Told of each trial whose state or last rung has changed.

    searched: trials that the search is to have. known: those of earlier starts. parent: the sweep's
    run in MLflow.
    """

    def __init__(
        self,
        settings: SweepSettings,
        searched: int,
        known: Sequence[Trial],
        parent: Run,
        say: Callable[[str], None],
    ) -> None:
        self.steps, self.parent, self.say = settings.train.steps, parent, say
        self.total = searched + settings.confirm.top * settings.confirm.seeds
        self.start = time.monotonic()
        self.ended = {trial.number: trial for trial in known if trial.state != "running"}
        self.before = len(self.ended)

    def __call__(self, trial: Trial) -> None:
        if trial.state == "running":
            self.say(self._rung(trial))
            return
        self.ended[trial.number] = trial
        reason = f" ({trial.reason})" if trial.reason else ""
        self.say(f"trial {trial.name} {trial.state} at step {trial.step}{reason}{self._pace()}")
        best = self._best()
        if best is not None and best.objective is not None:
            row = {BEST: best.objective, ENDED: float(len(self.ended))}
            self.parent.metrics([(len(self.ended), row)])

    def _rung(self, trial: Trial) -> str:
        name = f"trial {trial.name}"
        if trial.confirms is not None:
            name += f" (trial {trial.confirms:03d} with seed {trial.seed})"
        rung = trial.rungs[-1]
        told = " ".join(f"{task} {gain:+.2f}" for task, gain in rung.gains.items())
        rate = f"{rung.step / max(rung.seconds, 1e-9):.1f} steps/s"
        return (
            f"{name} | step {rung.step}/{self.steps} | gain {rung.objective:+.3f} dB ({told}) | "
            f"{rate}"
        )

    def _pace(self) -> str:
        """What an earlier start did took no time of this one."""
        done, passed = len(self.ended) - self.before, time.monotonic() - self.start
        left = max(0, self.total - len(self.ended)) * passed / max(done, 1)
        best = self._best()
        told = "" if best is None else f", best {best.name} {best.objective:+.3f} dB"
        return f" | {len(self.ended)} of {self.total} ended, {duration(left)} left{told}"

    def _best(self) -> Trial | None:
        finished = [t for t in self.ended.values() if t.state == "finished" and t.confirms is None]
        return max(finished, key=lambda trial: trial.objective or 0.0, default=None)
