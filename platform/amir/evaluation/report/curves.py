"""Training curves from a run's metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.evaluation.charts import INK, SERIES_COLOURS, TASK_COLOURS, Chart, drawing
from amir.modality import Modality

POINTS = 150  # more than that a plot of this size cannot show
Row = dict[str, Any]


def read_metrics(checkpoint: Path) -> list[Row]:
    """The lines of metrics.jsonl of the run that a checkpoint folder belongs to; none without."""
    file = checkpoint.parent.parent / "metrics.jsonl"
    if not file.is_file():
        return []
    # A line that is being written, or never will be, has no end.
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def draw_curves(rows: Sequence[Row], *, step: int | None) -> list[Chart]:
    """Loss and validation gain over the steps; no chart for what the run did not record.

    step: of the checkpoint that the report is about, marked in both.
    """
    charts = []
    if any("train/l1" in row for row in rows):
        charts.append(_draw_loss(rows, step))
    if any("validation/gain" in row for row in rows):
        charts.append(_draw_gain(rows, step))
    return charts


def _draw_loss(rows: Sequence[Row], step: int | None) -> Chart:
    steps, losses = _series(rows, "train/l1")
    middle, low, high, place = _summarised(steps, losses)
    with drawing(4.7, 2.9) as drawn:
        axis = drawn.figure.subplots()
        colour = SERIES_COLOURS[0]
        axis.fill_between(place, low, high, color=colour, alpha=0.25, linewidth=0)
        axis.plot(place, middle, color=colour, linewidth=1.4)
        axis.set(yscale="log", xlabel="step", ylabel="L1, normalised intensities")
        _mark(axis, step)
    return Chart(
        "training-loss",
        f"Training loss (L1). Line: median of neighbouring steps; band: 10th to 90th percentile. "
        f"The dotted line is the checkpoint of this report. {len(steps)} steps.",
        f"L1 falls from {middle[0]:.3g} to {middle[-1]:.3g} in {len(steps)} steps.",
        drawn.svg,
    )


def _draw_gain(rows: Sequence[Row], step: int | None) -> Chart:
    told = []
    with drawing(4.7, 2.9) as drawn:
        axis = drawn.figure.subplots()
        for task in Modality:
            steps, gains = _series(rows, f"validation/{task}/gain")
            if len(steps):
                colour = TASK_COLOURS[task]
                axis.plot(steps, gains, color=colour, marker="o", markersize=3.5, label=str(task))
                told.append(f"{task} {gains[-1]:+.2f} dB")
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.set(xlabel="step", ylabel="PSNR gain, dB")
        axis.legend(loc="best")
        _mark(axis, step)
    return Chart(
        "validation-gain",
        "PSNR gain over the degraded input on the validation slices. The dotted line is the "
        "checkpoint of this report.",
        f"At the last validation: {', '.join(told)}.",
        drawn.svg,
    )


def _series(rows: Sequence[Row], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = [(row["step"], row[name]) for row in rows if name in row]
    steps, values = (
        (np.array(column, np.float64) for column in zip(*found, strict=True))
        if (found)
        else (np.zeros(0), np.zeros(0))
    )
    return steps, values


def _summarised(
    steps: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Median, 10th and 90th percentile of neighbouring values, and their mean step."""
    parts = np.array_split(np.arange(len(steps)), min(POINTS, len(steps)))
    rows = [(*np.percentile(values[part], (50, 10, 90)), steps[part].mean()) for part in parts]
    middle, low, high, place = np.array(rows).T
    return middle, low, high, place


def _mark(axis: Any, step: int | None) -> None:
    if step:
        axis.axvline(step, color=INK, linewidth=0.9, linestyle=":")
