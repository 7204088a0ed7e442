"""Is one method better than another? Paired over patients, corrected for how often it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from amir.evaluation.scan_scores import PAPER_METRICS
from amir.evaluation.tables.patients import TaskScores
from amir.evaluation.tables.statistics import holm, paired_p
from amir.modality import Modality

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Paired:
    """method minus other, in the metric's unit: mean over patients of their means over slices.

    p: uncorrected; corrected: by Holm within the metric, over all tasks and pairs. For one patient
    nothing can be tested, both are 1.
    """

    task: Modality
    metric: str
    method: str
    other: str
    difference: float
    patients: int
    p: float
    corrected: float

    @property
    def is_significant(self) -> bool:
        return self.corrected < SIGNIFICANT


def compare_all(
    tasks: Mapping[Modality, TaskScores], methods: Sequence[str], *, seed: int
) -> list[Paired]:
    """Every pair of methods in every task, for each of the paper's metrics a family of its own."""
    return [one for metric in PAPER_METRICS for one in _family(tasks, methods, metric, seed)]


def _family(
    tasks: Mapping[Modality, TaskScores], methods: Sequence[str], metric: str, seed: int
) -> list[Paired]:
    pairs = [(task, *pair) for task in tasks for pair in combinations(methods, 2)]
    each = [
        tasks[task].by_patient(method, metric) - tasks[task].by_patient(other, metric)
        for task, method, other in pairs
    ]
    ps = [paired_p(differences, seed=seed) for differences in each]
    testable = [k for k, differences in enumerate(each) if len(differences) > 1]
    corrected = dict(zip(testable, holm([ps[k] for k in testable]), strict=True))
    return [
        Paired(
            task,
            metric,
            method,
            other,
            float(each[k].mean()),
            len(each[k]),
            ps[k],
            corrected.get(k, 1.0),
        )
        for k, (task, method, other) in enumerate(pairs)
    ]
