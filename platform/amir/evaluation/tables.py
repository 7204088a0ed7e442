"""Score rows to the paper's table: methods down, tasks and metrics across, with n and the spread of
the gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from amir.evaluation.methods import BASELINE
from amir.modality import Modality

METRICS = ("psnr", "ssim", "rmse")
TASK_NAMES = {
    Modality.MRI: "MRI super-resolution",
    Modality.CT: "CT denoising",
    Modality.PET: "PET synthesis",
}


@dataclass(frozen=True)
class Gain:
    """PSNR gain of a method over the degraded input, per patient, dB. spread: standard deviation
    over patients.
    """

    mean: float
    spread: float
    lowest: float
    highest: float
    patients: int


@dataclass(frozen=True)
class ScoreTable:
    """means: (method, task) -> metric -> mean over slices, as in the paper. skipped: slices without
    a finite score.
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
    """Summarise the rows of `score_split`; a slice that any method has no finite PSNR on is skipped
    for all.
    """
    tasks = tuple(task for task in Modality if str(task) in set(scores["modality"].to_pylist()))
    means, gains, patients, slices, skipped = {}, {}, {}, {}, {}
    for task in tasks:
        columns = {method: _of(scores, method, task) for method in methods}
        finite = np.logical_and.reduce([np.isfinite(c["psnr"]) for c in columns.values()])
        who = columns[methods[0]]["patient_id"][finite]
        patients[task], slices[task] = len(set(who)), int(finite.sum())
        skipped[task] = int((~finite).sum())
        for method, column in columns.items():
            means[method, task] = {m: float(column[m][finite].mean()) for m in METRICS}
            gain = column["psnr"][finite] - columns[BASELINE]["psnr"][finite]
            gains[method, task] = _gain(gain, who)
    return ScoreTable(tuple(methods), tasks, means, gains, patients, slices, skipped)


def markdown(table: ScoreTable) -> str:
    """The table as people paste it: one header line per task, best value bold, n below, then the
    gains.
    """
    names = [*(TASK_NAMES[task] for task in table.tasks), "Average"]
    heads = [f"{name} {metric.upper()}" for name in names for metric in METRICS]
    lines = ["| Method | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for method in table.methods:
        cells = [_cell(table, method, task, metric) for task in table.tasks for metric in METRICS]
        averages = [f"{table.average(method, metric):.4f}" for metric in METRICS]
        lines.append(f"| {method} | " + " | ".join([*cells, *averages]) + " |")
    return "\n".join([*lines, "", *_counts(table), "", *_gain_lines(table), ""])


def csv(table: ScoreTable) -> str:
    """The same numbers, one line per method and task."""
    header = "method,task,psnr,ssim,rmse,gain_mean,gain_sd,gain_min,gain_max,patients,slices"
    lines = [header]
    for method in table.methods:
        for task in table.tasks:
            mean, gain = table.means[method, task], table.gains[method, task]
            values = [mean[m] for m in METRICS] + [
                gain.mean,
                gain.spread,
                gain.lowest,
                gain.highest,
            ]
            numbers = ",".join(f"{v:.6f}" for v in values)
            lines.append(f"{method},{task},{numbers},{gain.patients},{table.slices[task]}")
    return "\n".join(lines) + "\n"


def _of(scores: pa.Table, method: str, task: Modality) -> dict[str, np.ndarray]:
    chosen = scores.filter(
        pc.and_(pc.equal(scores["method"], method), pc.equal(scores["modality"], str(task)))
    )
    names = (*METRICS, "patient_id")
    return {name: chosen[name].to_numpy() for name in names}


def _gain(gain: np.ndarray, who: np.ndarray) -> Gain:
    people = sorted(set(who))
    each = np.array([gain[who == person].mean() for person in people])
    spread = float(each.std(ddof=1)) if len(each) > 1 else 0.0
    return Gain(float(each.mean()), spread, float(each.min()), float(each.max()), len(each))


def _cell(table: ScoreTable, method: str, task: Modality, metric: str) -> str:
    value = table.means[method, task][metric]
    every = [table.means[m, task][metric] for m in table.methods]
    best = min(every) if metric == "rmse" else max(every)
    text = f"{value:.4f}"
    return f"**{text}**" if value == best else text


def _counts(table: ScoreTable) -> list[str]:
    parts = [
        f"{task}: {table.patients[task]} patients, {table.slices[task]} slices"
        + (
            f" ({table.skipped[task]} without a finite score left out)"
            if table.skipped[task]
            else ""
        )
        for task in table.tasks
    ]
    return [
        "n = " + "; ".join(parts) + ". PSNR in dB, RMSE in a.u., HU and SUV; means over slices."
    ]


def _gain_lines(table: ScoreTable) -> list[str]:
    lines = ["PSNR gain over the degraded input, dB: mean over patients ± SD (lowest to highest)"]
    for method in table.methods:
        if method == BASELINE:
            continue
        parts = []
        for task in table.tasks:
            g = table.gains[method, task]
            parts.append(
                f"{task} {g.mean:+.3f} ± {g.spread:.3f} ({g.lowest:+.3f} to {g.highest:+.3f}), "
                f"n = {g.patients}"
            )
        lines.append(f"- {method}: " + "; ".join(parts))
    return lines
