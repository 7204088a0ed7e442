"""Score rows to the paper's table."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pyarrow as pa
import pytest

from amir.errors import InputError
from amir.evaluation.methods import BASELINE
from amir.evaluation.scores import SCHEMA
from amir.evaluation.tables import ScoreTable, as_csv, as_markdown, tabulate
from amir.modality import Modality

OURS = "AMIR"


def rows(
    modality: str, patient: str, before: list[float], after: list[float], *, rmse: float = 1.0
) -> list[dict[str, Any]]:
    """Slices of a patient: their PSNR before and after restoration."""
    return [
        {
            "method": method,
            "model_digest": "",
            "patient_id": patient,
            "scan_id": "0" * 16,
            "modality": modality,
            "slice_index": index,
            "psnr": psnr,
            "ssim": psnr / 100,
            "rmse": rmse / psnr if math.isfinite(psnr) else rmse,
        }
        for method, values in ((BASELINE, before), (OURS, after))
        for index, psnr in enumerate(values)
    ]


def table_of(*parts: list[dict[str, Any]]) -> ScoreTable:
    every = [row for part in parts for row in part]
    return tabulate(pa.Table.from_pylist(every, schema=SCHEMA), [BASELINE, OURS])


@pytest.fixture
def table() -> ScoreTable:
    """MRI: a patient with three slices and one with a single slice; PET: one patient."""
    return table_of(
        rows("MRI", "a", [20, 20, 20], [21, 22, 23]),
        rows("MRI", "b", [30], [29]),
        rows("PET", "c", [40], [50]),
    )


def test_scores_are_means_over_slices(table: ScoreTable) -> None:
    assert table.tasks == (Modality.MRI, Modality.PET)
    assert table.means[BASELINE, Modality.MRI]["psnr"] == 22.5
    assert table.means[OURS, Modality.MRI]["psnr"] == 23.75
    assert table.average(OURS, "psnr") == (23.75 + 50) / 2


def test_gains_are_means_over_patients_with_their_spread(table: ScoreTable) -> None:
    gain = table.gains[OURS, Modality.MRI]
    assert (gain.mean, gain.lowest, gain.highest) == (0.5, -1, 2)
    assert gain.spread == pytest.approx(math.sqrt(4.5))
    alone = table.gains[OURS, Modality.PET]
    assert (alone.mean, alone.spread) == (10, 0)


def test_slices_without_a_finite_score_are_skipped_for_all_and_counted() -> None:
    table = table_of(
        rows("CT", "a", [-math.inf, 30, 31], [-math.inf, 33, 34]),
        rows("CT", "b", [30], [math.inf]),
    )
    assert table.means[BASELINE, Modality.CT]["psnr"] == 30.5
    assert (table.slices[Modality.CT], table.skipped[Modality.CT]) == (2, 2)
    assert table.patients[Modality.CT] == 1
    assert "CT: 1 patients, 2 slices (2 without a finite score left out)" in as_markdown(table)


def test_a_task_without_any_score_is_refused() -> None:
    with pytest.raises(InputError, match="no CT slice has a score: all of their 1 targets"):
        table_of(rows("CT", "a", [-math.inf], [-math.inf]))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_markdown_is_a_table_with_the_best_values_bold(table: ScoreTable) -> None:
    head, rule, baseline, ours, *rest = as_markdown(table).splitlines()
    assert len({len(cells(line)) for line in (head, rule, baseline, ours)}) == 1
    found = dict(zip(cells(head), zip(cells(baseline), cells(ours), strict=True), strict=True))
    assert found["Method"] == (BASELINE, OURS)
    assert found["MRI super-resolution PSNR"] == ("22.5000", "**23.7500**")
    # Of errors the smaller is the better.
    assert [cell.startswith("**") for cell in found["PET synthesis RMSE"]] == [False, True]
    assert found["Average PSNR"] == ("31.2500", "**36.8750**")
    text = "\n".join(rest)
    assert "n = MRI: 2 patients, 4 slices; PET: 1 patients, 1 slices" in text
    assert "RMSE in a.u. (MRI), SUV (PET)" in text
    assert f"- {OURS}: MRI +0.500 ± 2.121 (-1.000 to +2.000), n = 2; PET +10.000" in text
    assert f"- {BASELINE}" not in text


def test_csv_has_a_line_per_method_and_task(table: ScoreTable) -> None:
    found = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [(row["method"], row["task"]) for row in found] == [
        (BASELINE, "MRI"),
        (BASELINE, "PET"),
        (OURS, "MRI"),
        (OURS, "PET"),
    ]
    ours = found[2]
    assert float(ours["psnr"]) == 23.75
    assert [float(ours[f"gain_{part}"]) for part in ("mean", "min", "max")] == [0.5, -1, 2]
    assert (ours["patients"], ours["slices"], ours["skipped"]) == ("2", "4", "0")


def test_a_name_with_the_tables_own_signs_does_not_break_them() -> None:
    odd = 'AMIR (runs/a, "b"|c)'
    scored = rows("CT", "a", [30.0], [31.0])
    scored[1]["method"] = odd
    table = tabulate(pa.Table.from_pylist(scored, schema=SCHEMA), [BASELINE, odd])
    assert list(csv.DictReader(io.StringIO(as_csv(table))))[1]["method"] == odd
    assert r'| AMIR (runs/a, "b"\|c) |' in as_markdown(table)
