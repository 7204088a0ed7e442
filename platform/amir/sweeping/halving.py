"""Ray Tune's asynchronous successive halving, told by hand what trials found."""

from __future__ import annotations

from types import SimpleNamespace

from amir.config import SweepSettings


class Halving:
    """Stops what falls behind at a rung, as the scheduler of a sweep of these settings does."""

    def __init__(self, settings: SweepSettings) -> None:
        from ray.tune.schedulers import ASHAScheduler

        self.known: set[int] = set()
        self.asha = ASHAScheduler(
            time_attr="step",
            metric="objective",
            mode="max",
            max_t=settings.train.steps,
            grace_period=settings.scheduler.grace or settings.train.validation.every,
            reduction_factor=settings.scheduler.reduction,
        )

    def stops(self, number: int, step: int, objective: float) -> bool:
        """Whether trial `number` ends here, at its last step or before."""
        trial = SimpleNamespace(trial_id=str(number))
        if number not in self.known:
            self.known.add(number)
            self.asha.on_trial_add(None, trial)
        found = {"step": step, "objective": objective}
        return bool(self.asha.on_trial_result(None, trial, found) == "STOP")
