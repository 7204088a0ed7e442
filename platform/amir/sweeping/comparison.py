"""Ways of searching compared: what each finds for its steps, over many seeds, and what is a tie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from amir.config import StudySettings, SweepSettings
from amir.sweeping.curves import Curve
from amir.sweeping.record import Rung
from amir.sweeping.replay import Chance, Chooser, Nearest, Stops, Values, best_so_far, search

PLAIN = "random"
RESAMPLES = 2000
CONFIDENCE = 0.95
NEAR_DB = 0.05  # of the best there is: as good as found


@dataclass(frozen=True)
class Comparison:
    """marks: steps [marks]. best: name of the search -> largest objective so far, dB [replays,
    marks].

    full: steps that all curves took. there_is: the largest objective of all curves.
    """

    marks: Sequence[int]
    best: Mapping[str, Values]
    full: int
    there_is: float

    def middle(self, name: str) -> Values:
        """Median over the replays [marks]."""
        return np.asarray(np.median(self.best[name], axis=0))

    def steps_to_the_best(self, name: str) -> Values:
        """Steps until the best there is, or as good a one, was found; infinite if not [replays]."""
        near = self.best[name] >= self.there_is - NEAR_DB
        first = np.array([*self.marks, np.inf])
        return np.asarray(first[np.where(near.any(axis=1), near.argmax(axis=1), len(self.marks))])

    def lead(self, name: str, mark: int) -> tuple[float, float, float]:
        """Difference of the medians to the random search's at a mark, and its 95 % interval, dB.

        A bootstrap over the replays of each. An interval that holds 0 is a tie.
        """
        pair = [self.best[search][:, mark] for search in (name, PLAIN)]
        chance = np.random.default_rng(0)
        resampled = [
            np.median(chance.choice(values, (RESAMPLES, len(values))), axis=1) for values in pair
        ]
        tail = 100 * (1 - CONFIDENCE) / 2
        lower, upper = np.percentile(resampled[0] - resampled[1], (tail, 100 - tail))
        return float(np.median(pair[0]) - np.median(pair[1])), float(lower), float(upper)


def compare(
    settings: StudySettings,
    curves: Sequence[Curve],
    *,
    report: Callable[[int, int], None] = lambda done, every: None,
) -> Comparison:
    """Replay each search with `settings.replays` seeds.

    report: called with how many replays are done of how many.
    """
    every = settings.train.validation.every
    full = sum(curve.rungs[-1].step for curve in curves if curve.rungs)
    marks = range(every, int(settings.budget * full) + 1, every)
    best: dict[str, list[Values]] = {name: [] for name in SEARCHES}
    for seed in range(settings.replays):
        for name, start in SEARCHES.items():
            chooser, stops = start(settings, curves, seed)
            found = search(curves, chooser, stops, at_once=settings.concurrency or 1)
            best[name].append(best_so_far(found, marks))
        report(seed + 1, settings.replays)
    there_is = max(rung.objective for curve in curves for rung in curve.rungs)
    return Comparison(marks, {name: np.array(of) for name, of in best.items()}, full, there_is)


def _start(
    settings: StudySettings, curves: Sequence[Curve], seed: int, *, learns: bool, halves: bool
) -> tuple[Chooser, Stops]:
    chooser: Chooser = Nearest(settings, curves, seed=seed) if learns else Chance(curves, seed=seed)
    return chooser, halving(settings) if halves else _never


def halving(settings: SweepSettings) -> Stops:
    """The scheduler of a sweep of these settings, told by hand what trials found."""
    from amir.sweeping.tuning import Asha

    asha = Asha(settings)
    return lambda number, rung: number in asha.recall([(number, rung)])


def _never(number: int, rung: Rung) -> bool:
    return False


SEARCHES: dict[str, Callable[[StudySettings, Sequence[Curve], int], tuple[Chooser, Stops]]] = {
    PLAIN: partial(_start, learns=False, halves=False),
    "TPE": partial(_start, learns=True, halves=False),
    "ASHA": partial(_start, learns=False, halves=True),
    "TPE + ASHA": partial(_start, learns=True, halves=True),
}
