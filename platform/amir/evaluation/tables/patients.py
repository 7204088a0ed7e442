"""Score rows to numbers by patient: what is left out, whose mean is what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from amir.errors import InputError
from amir.evaluation.scan_scores import FURTHER_METRICS, PAPER_METRICS
from amir.modality import Modality

Values = NDArray[np.float64]
PER_SCAN = ("volume_psnr", "volume_ssim")


@dataclass(frozen=True, eq=False)
class TaskScores:
    """The slices of one task on which every method has a finite score, in one order for all.

    values: method -> metric -> one value per slice, nan where the metric has none. constant:
    slices left out for a constant target; perfect: those that a method restores without error.
    """

    task: Modality
    patients: NDArray[np.str_]
    scans: NDArray[np.str_]
    values: Mapping[str, Mapping[str, Values]]
    constant: int
    perfect: int

    @cached_property
    def people(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.patients.tolist())))

    def mean(self, method: str, metric: str) -> float | None:
        """Over slices, or over scans for what is a scan's; None without any value."""
        values = self.values[method][metric]
        if metric in PER_SCAN:
            values = values[self._first_of_scan]
        finite = values[np.isfinite(values)]
        return float(finite.mean()) if finite.size else None

    def by_patient(self, method: str, metric: str) -> Values:
        """Each patient's mean over slices, in the order of `people`."""
        values = self.values[method][metric]
        return np.array([values[self.patients == person].mean() for person in self.people])

    def slices_of(self, person: str) -> int:
        return int((self.patients == person).sum())

    @cached_property
    def _first_of_scan(self) -> NDArray[np.int64]:
        return np.unique(self.scans, return_index=True)[1]


def task_scores(scores: pa.Table, methods: Sequence[str]) -> dict[Modality, TaskScores]:
    """Rows of scores.parquet by task, in the paper's order.

    A slice on which any method has no finite score is left out for all: the methods are compared on
    the same slices.
    """
    present = set(scores["modality"].to_pylist())
    return {task: _of_task(scores, methods, task) for task in Modality if str(task) in present}


def _of_task(scores: pa.Table, methods: Sequence[str], task: Modality) -> TaskScores:
    rows = scores.filter(pc.equal(scores["modality"], str(task)))
    order = [("scan_id", "ascending"), ("slice_index", "ascending")]
    tables = {m: rows.filter(pc.equal(rows["method"], m)).sort_by(order) for m in methods}
    first = tables[methods[0]]
    values = {m: _values(table) for m, table in tables.items()}
    finite = np.logical_and.reduce(
        [np.isfinite(of[metric]) for of in values.values() for metric in PAPER_METRICS]
    )
    constant = int((first["data_range"].to_numpy() == 0).sum())
    if not finite.any():
        raise InputError(
            "invalid_dataset",
            f"no {task} slice has a score: {constant} of {len(finite)} targets are constant within "
            "the scoring range, the others are restored without error; choose another --split, or "
            "look at the scans",
        )
    return TaskScores(
        task,
        np.array(first["patient_id"].to_pylist())[finite],
        np.array(first["scan_id"].to_pylist())[finite],
        {m: {metric: v[finite] for metric, v in of.items()} for m, of in values.items()},
        constant,
        int((~finite).sum()) - constant,
    )


def _values(table: pa.Table) -> dict[str, Values]:
    return {
        metric: table[metric].to_numpy().astype(np.float64)
        for metric in (*PAPER_METRICS, *FURTHER_METRICS)
    }
