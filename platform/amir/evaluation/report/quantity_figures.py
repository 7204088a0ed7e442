"""Plots of the quantities: histograms, HU shift, SUV agreement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.evaluation.charts import INK, SERIES_COLOURS, Chart, drawing, plain
from amir.evaluation.quantities.measure import SUV_QUANTITIES, histograms
from amir.evaluation.quantities.scan_quantities import BINS, ScanQuantities
from amir.modality import MODELLING_RANGES, Modality

COLOURS = {"target": INK, "degraded": SERIES_COLOURS[1], "restored": SERIES_COLOURS[0]}
SUV_NAMES = {"suv_max": "SUVmax", "suv_mean": "SUVmean", "activity": "total activity"}


def draw_quantities(scans: Sequence[ScanQuantities]) -> Iterator[Chart]:
    """The charts that the scans' tasks allow."""
    for task in Modality:
        found = histograms(scans, task)
        if found:
            yield _draw_histogram(task, found)
    shifted = [scan for scan in scans if "mean_shift_restored" in scan.totals]
    if shifted:
        yield _draw_shift(shifted)
    suv = [scan for scan in scans if scan.modality is Modality.PET]
    if suv:
        yield _draw_suv(suv)


def _draw_histogram(task: Modality, found: dict[str, NDArray[np.int64]]) -> Chart:
    limits = MODELLING_RANGES[task]
    edges = np.linspace(limits.lower, limits.upper, BINS + 1)
    used = np.flatnonzero(np.sum(list(found.values()), axis=0))
    last = min(int(used[-1]) + 2, BINS) if used.size else BINS
    with drawing(4.7, 2.7) as drawn:
        axis = drawn.figure.subplots()
        for name in ("degraded", "target", "restored"):
            counts = np.maximum(found[name], 0.5)[:last]
            axis.stairs(counts, edges[: last + 1], color=COLOURS[name], label=name, linewidth=1.2)
        axis.set(yscale="log", xlabel=limits.unit, ylabel="voxels", ylim=(0.5, None))
        axis.legend(loc="best")
    total = {name: max(1, counts.sum()) for name, counts in found.items()}
    moved = {
        name: float(
            np.abs(np.cumsum(found[name] / total[name] - found["target"] / total["target"])).sum()
            * limits.span
            / BINS
        )
        for name in ("degraded", "restored")
    }
    return Chart(
        f"histogram-{task}",
        f"{task} intensities of all slices ({BINS} bins over the modelling range, logarithmic). "
        f"Where the blue line leaves the target's, values are shifted or smoothed away.",
        "Distance of the histogram to the target's: "
        + ", ".join(f"{name} {value:.3g} {limits.unit}" for name, value in moved.items()),
        drawn.svg,
    )


def _draw_shift(scans: Sequence[ScanQuantities]) -> Chart:
    rows = len(scans)
    with drawing(4.7, 0.9 + min(0.26 * rows, 6)) as drawn:
        axis = drawn.figure.subplots()
        for name in ("degraded", "restored"):
            shifts = [scan.totals[f"mean_shift_{name}"] for scan in scans]
            axis.scatter(shifts, range(rows), s=26, color=COLOURS[name], label=name)
        axis.axvline(0, color=INK, linewidth=0.9)
        axis.set_yticks(range(rows), [plain(f"{s.patient_id} {s.scan_id[:4]}") for s in scans])
        axis.set(xlabel="mean shift in flat soft tissue, HU", ylim=(-0.6, rows - 0.4))
        handles, labels = axis.get_legend_handles_labels()
        drawn.figure.legend(handles, labels, loc="outside upper left", ncols=2)
    worst = max((abs(scan.totals["mean_shift_restored"]) for scan in scans), default=0.0)
    return Chart(
        "ct-shift",
        "Mean difference to the target in HU where its soft tissue is flat, one row per CT scan. A "
        "restored scan should stay where the degraded one is, near 0.",
        f"Largest shift of a restored scan: {worst:.1f} HU.",
        drawn.svg,
    )


def _draw_suv(scans: Sequence[ScanQuantities]) -> Chart:
    with drawing(4.7, 5.6) as drawn:
        axes = drawn.figure.subplots(len(SUV_QUANTITIES), 1)
        for axis, quantity in zip(axes, SUV_QUANTITIES, strict=True):
            _draw_differences(axis, scans, quantity)
        handles, labels = axes[0].get_legend_handles_labels()
        drawn.figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return Chart(
        "suv-agreement",
        "PET: relative difference to the target over the target's value, one dot per scan (Bland "
        "and Altman). SUVmean: over the voxels above 41 % of the target's maximum. Total "
        "activity: the sum of SUV over all voxels.",
        f"{len(scans)} scans; the numbers are in the table.",
        drawn.svg,
    )


def _draw_differences(axis: Any, scans: Sequence[ScanQuantities], quantity: str) -> None:
    true = np.array([scan.totals[f"{quantity}_target"] for scan in scans])
    for name in ("degraded", "restored"):
        measured = np.array([scan.totals[f"{quantity}_{name}"] for scan in scans])
        relative = 100 * (measured - true) / np.where(true == 0, np.nan, true)
        axis.scatter(true, relative, s=22, color=COLOURS[name], label=name)
    axis.axhline(0, color=INK, linewidth=0.9)
    axis.set_title(SUV_NAMES[quantity], loc="left")
    axis.set_ylabel("difference, %")
    axis.ticklabel_format(axis="x", style="plain", useOffset=False)
