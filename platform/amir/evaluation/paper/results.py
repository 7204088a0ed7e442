"""What our runs scored: one evaluation of them all, whichever tables they stand in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from amir.config import EvaluateSettings, PaperSettings
from amir.evaluation.evaluate import evaluate
from amir.evaluation.methods import BASELINE
from amir.evaluation.paper.recipes import Recipes, parameters
from amir.evaluation.scores import Each, on_ray
from amir.evaluation.tables.numbers import ScoreTable
from amir.modality import Modality

Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class Result:
    """One recipe's size, and its scores: row `method` of the table that all recipes share."""

    parameters: int
    method: str
    table: ScoreTable

    def means(self, task: Modality) -> Metrics:
        """metric -> mean over the slices of a task, as the paper averages."""
        return self.table.means[self.method, task]

    def before(self, task: Modality) -> Metrics:
        """The same of the degraded input."""
        return self.table.means[BASELINE, task]


def score_runs(
    names: Sequence[str],
    recipes: Recipes,
    settings: PaperSettings,
    *,
    each: Each = on_ray,
    report: Callable[[int, int], None] = lambda done, every: None,
) -> dict[str, Result]:
    """Score the finished runs of these recipes, on every task; files go to OUT/scores.

    What an earlier call scored is not scored again.
    """
    if not names:
        return {}
    runs = {name: recipes.of(name) for name in names}
    found = evaluate(
        EvaluateSettings(
            data=settings.data,
            models=tuple(str(run.run) for run in runs.values()),
            out=settings.out / "scores",
            split=settings.split,
            storage=settings.storage,
            tracking=settings.tracking,
            gaussian_filter=False,
            cpus=settings.workers.cpus,
            gpu=settings.workers.gpu,
        ),
        each=each,
        report=report,
    )
    methods = [method for method in found.table.methods if method != BASELINE]
    return {
        name: Result(parameters(run), method, found.table)
        for (name, run), method in zip(runs.items(), methods, strict=True)
    }
