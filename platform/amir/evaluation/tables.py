"""Score rows to the paper's table: methods down, tasks and metrics across, with n and the spread of
the gain.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from amir.errors import InputError
from amir.evaluation.methods import BASELINE
from amir.modality import SCORING_RANGES, Modality

METRICS = ("psnr", "ssim", "rmse")
TASK_NAMES = {
    Modality.MRI: "MRI super-resolution",
    Modality.CT: "CT denoising",
    Modality.PET: "PET synthesis",
}
CSV_COLUMNS = (
    "method",
    "task",
    *METRICS,
    "gain_mean",
    "gain_sd",
    "gain_min",
    "gain_max",
    "patients",
    "slices",
    "skipped",
)


@dataclass(frozen=True)
class Gain:
    """PSNR gain of a method over the degraded input, dB: each patient's mean over slices, then over
    patients.

    spread: standard deviation over patients; 0 for a single one.
    """

    mean: float
    spread: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class ScoreTable:
    """means: (method, task) -> metric -> mean over slices, as in the paper.

    patients, slices: what the means are over. skipped: slices without a finite score.
    """

    methods: tuple[str, ...]
    tasks: tuple[Modality, ...]
    means: Mapping[tuple[str, Modality], Mapping[str, float]]
    gains: Mapping[tuple[str, Modality], Gain]
    patients: Mapping[Modality, int]
    slices: Mapping[Modality, int]
    skipped: Mapping[Modality, int]

    def average(self, method: str, metric: str) -> float:
        """Mean over the tasks."""
        return float(np.mean([self.means[method, task][metric] for task in self.tasks]))


def tabulate(scores: pa.Table, methods: Sequence[str]) -> ScoreTable:
    """Summarise the rows of `score_split`.

    A slice on which any method has no finite score is skipped for all. That is one with a constant
    target, or one that a method restores perfectly.
    """
    tasks = tuple(task for task in Modality if str(task) in set(scores["modality"].to_pylist()))
    means, gains, patients, slices, skipped = {}, {}, {}, {}, {}
    for task in tasks:
        columns = {method: _of(scores, method, task) for method in methods}
        finite = _finite(columns, task)
        who = columns[methods[0]]["patient_id"][finite]
        patients[task], slices[task] = len(set(who)), int(finite.sum())
        skipped[task] = int((~finite).sum())
        for method, column in columns.items():
            means[method, task] = {m: float(column[m][finite].mean()) for m in METRICS}
            gain = column["psnr"][finite] - columns[BASELINE]["psnr"][finite]
            gains[method, task] = _gain(gain, who)
    return ScoreTable(tuple(methods), tasks, means, gains, patients, slices, skipped)


def as_markdown(table: ScoreTable) -> str:
    """The table as people paste it, best value bold; below it n, and the gains."""
    names = [*(TASK_NAMES[task] for task in table.tasks), "Average"]
    heads = [f"{name} {metric.upper()}" for name in names for metric in METRICS]
    lines = ["| Method | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    columns = [_cells(table, task, metric) for task in table.tasks for metric in METRICS]
    columns += [
        _bold_best([table.average(m, metric) for m in table.methods], metric) for metric in METRICS
    ]
    for method, cells in zip(table.methods, zip(*columns, strict=True), strict=True):
        name = method.replace("|", r"\|")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _counts(table), "", *_gain_lines(table), ""])


def as_csv(table: ScoreTable) -> str:
    """The same numbers, one line per method and task."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for method in table.methods:
        for task in table.tasks:
            mean, gain = table.means[method, task], table.gains[method, task]
            numbers = [mean[m] for m in METRICS]
            numbers += [gain.mean, gain.spread, gain.lowest, gain.highest]
            counts = (table.patients[task], table.slices[task], table.skipped[task])
            writer.writerow([method, str(task), *(f"{v:.6f}" for v in numbers), *counts])
    return text.getvalue()


def _of(scores: pa.Table, method: str, task: Modality) -> dict[str, NDArray[Any]]:
    chosen = scores.filter(
        pc.and_(pc.equal(scores["method"], method), pc.equal(scores["modality"], str(task)))
    )
    return {name: chosen[name].to_numpy() for name in (*METRICS, "patient_id")}


def _finite(columns: Mapping[str, Mapping[str, NDArray[Any]]], task: Modality) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = np.logical_and.reduce(
        [np.isfinite(column[metric]) for column in columns.values() for metric in METRICS]
    )
    if not finite.any():
        raise InputError(
            "invalid_dataset",
            f"no {task} slice has a score: all of their {len(finite)} targets are constant within "
            "the scoring range, or a model restores nothing but NaN; choose another --split, or "
            "look at the scans",
        )
    return finite


def _gain(gain: NDArray[np.float64], who: NDArray[Any]) -> Gain:
    each = np.array([gain[who == person].mean() for person in sorted(set(who))])
    spread = float(each.std(ddof=1)) if len(each) > 1 else 0.0
    return Gain(float(each.mean()), spread, float(each.min()), float(each.max()))


def _cells(table: ScoreTable, task: Modality, metric: str) -> list[str]:
    return _bold_best([table.means[method, task][metric] for method in table.methods], metric)


def _bold_best(values: list[float], metric: str) -> list[str]:
    best = min(values) if metric == "rmse" else max(values)
    return [f"**{value:.4f}**" if value == best else f"{value:.4f}" for value in values]


def _counts(table: ScoreTable) -> str:
    parts = [f"{task}: {_count(table, task)}" for task in table.tasks]
    units = ", ".join(f"{SCORING_RANGES[task].unit} ({task})" for task in table.tasks)
    return f"n = {'; '.join(parts)}. Means over slices; PSNR in dB, RMSE in {units}."


def _count(table: ScoreTable, task: Modality) -> str:
    count = f"{table.patients[task]} patients, {table.slices[task]} slices"
    if not table.skipped[task]:
        return count
    return f"{count} ({table.skipped[task]} without a finite score left out)"


def _gain_lines(table: ScoreTable) -> list[str]:
    lines = [
        "PSNR gain over the degraded input, dB: mean over patients ± SD (lowest to highest)",
        "",
    ]
    for method in table.methods:
        if method != BASELINE:
            parts = [_gain_of(table, method, task) for task in table.tasks]
            lines.append(f"- {method}: {'; '.join(parts)}")
    return lines


def _gain_of(table: ScoreTable, method: str, task: Modality) -> str:
    gain = table.gains[method, task]
    span = f"{gain.lowest:+.3f} to {gain.highest:+.3f}"
    n = table.patients[task]
    return f"{task} {gain.mean:+.3f} ± {gain.spread:.3f} ({span}), n = {n}"
