"""Plots of the scores: every patient's gain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from amir.evaluation.charts import INK, SERIES_COLOURS, Chart, drawing, plain
from amir.evaluation.methods import BASELINE
from amir.evaluation.tables.numbers import ScoreTable
from amir.modality import Modality

MOST_NAMES = 40  # patients whose names fit below each other


def draw_patient_gains(table: ScoreTable) -> Iterator[Chart]:
    """For each task, each patient's PSNR gain over the degraded input, a dot per method."""
    for task in table.tasks:
        yield _draw_task(table, task)


def _draw_task(table: ScoreTable, task: Modality) -> Chart:
    found = table.by_task[task]
    before = found.by_patient(BASELINE, "psnr")
    gains = {m: found.by_patient(m, "psnr") - before for m in table.methods if m != BASELINE}
    last = list(gains.values())[-1]
    order = np.argsort(last)
    rows = len(order)
    people = f"{rows} patient{'' if rows == 1 else 's'}"
    with drawing(4.7, 0.9 + min(0.24 * rows, 6)) as drawn:
        axis = drawn.figure.subplots()
        for (method, gain), colour in zip(gains.items(), _colours(len(gains)), strict=True):
            axis.scatter(gain[order], range(rows), s=26, color=colour, label=plain(method))
        axis.axvline(0, color=INK, linewidth=0.9)
        names = [plain(found.people[k]) for k in order]
        axis.set_yticks(range(rows), names if rows <= MOST_NAMES else [""] * rows)
        axis.set(ylim=(-0.6, rows - 0.4), xlabel="PSNR gain, dB")
        handles, labels = axis.get_legend_handles_labels()
        drawn.figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return Chart(
        f"patients-{task}",
        f"{task}, {people}: mean PSNR gain of each over the degraded input. Left of the line "
        "the image got worse.",
        "; ".join(
            f"{method}: {gain.min():+.2f} to {gain.max():+.2f} dB, {(gain < 0).sum()} worse"
            for method, gain in gains.items()
        ),
        drawn.svg,
    )


def _colours(count: int) -> list[str]:
    """The last is the model's own; a filter before it is yellow."""
    ordered = [SERIES_COLOURS[1], SERIES_COLOURS[0], *SERIES_COLOURS[2:]]
    if count == 1:
        return [SERIES_COLOURS[0]]
    return [ordered[k % len(ordered)] for k in range(count)]
