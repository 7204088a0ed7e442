"""The tables for programs: one line per method and task, per patient, per paired test."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping

from amir.evaluation.scan_scores import FURTHER_METRICS, PAPER_METRICS
from amir.evaluation.tables.numbers import ScoreTable
from amir.evaluation.tables.statistics import smallest_p


def as_csv(table: ScoreTable) -> str:
    """All means, intervals and gains, one line per method and task."""
    return _csv(_csv_rows(table))


def patients_as_csv(table: ScoreTable) -> str:
    """Each patient's means over slices, one line per method, task and patient."""
    return _csv(_patient_rows(table))


def comparisons_as_csv(table: ScoreTable) -> str:
    """Every paired test, with the least p that so many patients allow."""
    return _csv(
        {
            "task": str(one.task),
            "metric": one.metric,
            "method": one.method,
            "other": one.other,
            "difference": _number(one.difference),
            "patients": one.patients,
            "p": f"{one.p:.6g}",
            "p_holm": f"{one.corrected:.6g}",
            "smallest_p": f"{smallest_p(one.patients):.6g}",
        }
        for one in table.comparisons
    )


def _csv_rows(table: ScoreTable) -> Iterator[dict[str, object]]:
    for method in table.methods:
        for task in table.tasks:
            cell = method, task
            gain = table.gains[cell]
            row: dict[str, object] = {"method": method, "task": str(task)}
            for metric in PAPER_METRICS:
                interval = table.intervals[cell][metric] or (None, None)
                row[metric] = _number(table.means[cell][metric])
                row[f"{metric}_lower"], row[f"{metric}_upper"] = map(_number, interval)
            row |= {metric: _number(table.means[cell][metric]) for metric in FURTHER_METRICS}
            row |= {
                "gain_mean": _number(gain.mean),
                "gain_sd": _number(gain.spread),
                "gain_min": _number(gain.lowest),
                "gain_max": _number(gain.highest),
            }
            lower, upper = map(_number, gain.interval or (None, None))
            row |= {"gain_lower": lower, "gain_upper": upper}
            row |= {"patients": table.patients[task], "slices": table.slices[task]}
            yield row | {"skipped": table.skipped[task], "constant": table.constant[task]}


def _patient_rows(table: ScoreTable) -> Iterator[dict[str, object]]:
    for task, found in table.by_task.items():
        for method in table.methods:
            means = {metric: found.by_patient(method, metric) for metric in PAPER_METRICS}
            for k, person in enumerate(found.people):
                row: dict[str, object] = {"task": str(task), "patient_id": person, "method": method}
                row |= {metric: _number(float(of[k])) for metric, of in means.items()}
                yield row | {"slices": found.slices_of(person)}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _csv(rows: Iterable[Mapping[str, object]]) -> str:
    lines = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
