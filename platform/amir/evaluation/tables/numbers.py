"""Score rows to the numbers of the paper's tables: means with n, intervals, tests, gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from amir.evaluation.methods import BASELINE
from amir.evaluation.scan_scores import FURTHER_METRICS, PAPER_METRICS
from amir.evaluation.tables.comparisons import Paired, compare_all
from amir.evaluation.tables.patients import TaskScores, task_scores
from amir.evaluation.tables.statistics import Interval, patient_interval
from amir.modality import Modality


@dataclass(frozen=True)
class Gain:
    """PSNR gain of a method over the degraded input, dB: each patient's mean over slices, then over
    patients.

    spread: standard deviation over patients; 0 for a single one. interval: of the mean.
    """

    mean: float
    spread: float
    lowest: float
    highest: float
    interval: Interval | None


@dataclass(frozen=True)
class ScoreTable:
    """means: (method, task) -> metric -> mean over slices, as in the paper; None without a value.

    intervals: likewise, None below five patients. patients, slices: what the means are over.
    skipped: slices left out; constant: those of them with a constant target.
    """

    methods: tuple[str, ...]
    tasks: tuple[Modality, ...]
    means: Mapping[tuple[str, Modality], Mapping[str, float | None]]
    intervals: Mapping[tuple[str, Modality], Mapping[str, Interval | None]]
    gains: Mapping[tuple[str, Modality], Gain]
    comparisons: tuple[Paired, ...]
    patients: Mapping[Modality, int]
    slices: Mapping[Modality, int]
    skipped: Mapping[Modality, int]
    constant: Mapping[Modality, int]
    by_task: Mapping[Modality, TaskScores]

    def average(self, method: str, metric: str) -> float | None:
        """Mean over the tasks; None where a task has no value."""
        values = [self.means[method, task][metric] for task in self.tasks]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if len(known) == len(values) else None


def tabulate(scores: pa.Table, methods: Sequence[str], *, seed: int = 0) -> ScoreTable:
    """Summarise rows of scores.parquet; methods: those to compare, in the order of the table.

    A slice on which any of them has no finite score is skipped for all. seed: of the resampling.
    """
    tasks = task_scores(scores, methods)
    cells = [(method, task) for method in methods for task in tasks]
    return ScoreTable(
        tuple(methods),
        tuple(tasks),
        means={(m, t): _means(tasks[t], m) for m, t in cells},
        intervals={(m, t): _intervals(tasks[t], m, seed) for m, t in cells},
        gains={(m, t): _gain(tasks[t], m, seed) for m, t in cells},
        comparisons=tuple(compare_all(tasks, methods, seed=seed)),
        patients={task: len(found.people) for task, found in tasks.items()},
        slices={task: len(found.patients) for task, found in tasks.items()},
        skipped={task: found.constant + found.perfect for task, found in tasks.items()},
        constant={task: found.constant for task, found in tasks.items()},
        by_task=tasks,
    )


def _means(found: TaskScores, method: str) -> dict[str, float | None]:
    return {metric: found.mean(method, metric) for metric in (*PAPER_METRICS, *FURTHER_METRICS)}


def _intervals(found: TaskScores, method: str, seed: int) -> dict[str, Interval | None]:
    return {
        metric: patient_interval(found.values[method][metric], found.patients, seed=seed)
        for metric in PAPER_METRICS
    }


def _gain(found: TaskScores, method: str, seed: int) -> Gain:
    each = found.by_patient(method, "psnr") - found.by_patient(BASELINE, "psnr")
    spread = float(each.std(ddof=1)) if len(each) > 1 else 0.0
    interval = patient_interval(each, found.people, seed=seed)
    return Gain(float(each.mean()), spread, float(each.min()), float(each.max()), interval)
