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
from amir.evaluation.scan_scores import SCHEMA
from amir.evaluation.tables.as_csv import as_csv, comparisons_as_csv, patients_as_csv
from amir.evaluation.tables.as_text import (
    as_latex,
    as_markdown,
    details_as_markdown,
    leader,
    patients_as_markdown,
    score_grid,
)
from amir.evaluation.tables.numbers import ScoreTable, tabulate
from amir.modality import Modality

OURS = "AMIR"


def rows(
    modality: str, patient: str, before: list[float], after: list[float], *, rmse: float = 1.0
) -> list[dict[str, Any]]:
    """Slices of a patient: their PSNR before and after restoration; -inf for a constant target."""
    return [
        {
            "method": method,
            "model_digest": "",
            "patient_id": patient,
            "scan_id": f"scan of {patient}",
            "modality": modality,
            "slice_index": index,
            "data_range": 0.0 if psnr == -math.inf else 1.0,
            "psnr": None if psnr == -math.inf else psnr,
            "ssim": None if psnr == -math.inf else psnr / 100,
            "rmse": rmse / psnr if math.isfinite(psnr) else rmse,
            "volume_psnr": max(values),
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


def test_volumes_count_once_each_and_missing_values_not_at_all(table: ScoreTable) -> None:
    assert table.means[OURS, Modality.MRI]["volume_psnr"] == (23 + 29) / 2
    assert table.means[OURS, Modality.MRI]["ms_ssim"] is None
    assert table.average(OURS, "ms_ssim") is None


def test_a_constant_slice_is_skipped_for_all_and_counted() -> None:
    table = table_of(
        rows("CT", "a", [-math.inf, 30, 31], [-math.inf, 33, 34]),
        rows("CT", "b", [30], [math.inf]),
    )
    assert table.means[BASELINE, Modality.CT]["psnr"] == 30.5
    assert (table.slices[Modality.CT], table.skipped[Modality.CT]) == (2, 2)
    assert (table.patients[Modality.CT], table.constant[Modality.CT]) == (1, 1)
    said = (
        "CT: 1 patient, 2 slices (1 with a constant target and 1 restored without error left out)"
    )
    assert said in as_markdown(table)


def test_a_task_without_any_score_is_refused() -> None:
    with pytest.raises(InputError, match="no CT slice has a score: 1 of 1 targets are constant"):
        table_of(rows("CT", "a", [-math.inf], [-math.inf]))


def test_below_five_patients_n_stands_in_the_place_of_an_interval(table: ScoreTable) -> None:
    assert table.intervals[OURS, Modality.MRI]["psnr"] is None
    details = details_as_markdown(table)
    assert "| AMIR | n = 2 | n = 2 | n = 2 | n = 1 | n = 1 | n = 1 |" in details
    assert "95 %" not in as_markdown(table).splitlines()[-1]


@pytest.fixture
def larger() -> ScoreTable:
    """Seven patients of one task, all of whom gain."""
    gains = [1.0, 1.2, 0.8, 1.1, 0.9, 1.3, 0.7]
    return table_of(
        *(rows("CT", f"p{k}", [30, 31 + k], [30 + g, 31 + k + g]) for k, g in enumerate(gains))
    )


def test_from_five_patients_on_there_are_intervals(larger: ScoreTable) -> None:
    interval = larger.intervals[OURS, Modality.CT]["psnr"]
    mean = larger.means[OURS, Modality.CT]["psnr"]
    assert interval is not None
    assert mean is not None
    assert interval.lower < mean < interval.upper
    gain = larger.gains[OURS, Modality.CT]
    assert gain.interval is not None
    assert 0.7 < gain.interval.lower < 1.0 < gain.interval.upper < 1.3
    assert f"to {interval.upper:.4f}" in details_as_markdown(larger)


def test_a_clear_lead_is_marked_with_its_corrected_p(larger: ScoreTable) -> None:
    lead = leader(larger, Modality.CT, "psnr")
    assert lead is not None
    assert (lead.method, lead.other, lead.patients) == (OURS, BASELINE, 7)
    assert lead.difference == pytest.approx(1.0)
    assert lead.p == lead.corrected == pytest.approx(2 / 2**7)
    text = as_markdown(larger)
    assert "PSNR AMIR - Degraded input +1.0000, p = 0.0156 †" in text
    assert "least p possible before correction: 0.016" in text
    [ours] = [line for line in text.splitlines() if line.startswith("| AMIR")]
    assert cells(ours)[1].endswith("** †")
    assert not cells(ours)[4].endswith("†")  # the average over tasks is not tested


def test_two_patients_are_too_few_for_a_mark(table: ScoreTable) -> None:
    assert score_grid(table).marked == frozenset()
    text = as_markdown(table)
    assert "- PET, n = 1: one patient allows no test" in text
    assert "least p possible before correction: 0.5" in text


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_markdown_is_the_papers_table_with_n_in_it(table: ScoreTable) -> None:
    head, rule, counts, baseline, ours, *rest = as_markdown(table).splitlines()
    assert len({len(cells(line)) for line in (head, rule, counts, baseline, ours)}) == 1
    columns = zip(cells(counts), cells(baseline), cells(ours), strict=True)
    found = dict(zip(cells(head), columns, strict=True))
    assert found["Method"] == ("n", BASELINE, OURS)
    mri = found["MRI super-resolution PSNR ↑"]
    assert mri == ("2 patients, 4 slices", "<u>22.5000</u>", "**23.7500**")
    # Of errors the smaller is the better.
    pet = found["PET synthesis RMSE ↓"]
    assert [cell.startswith("**") for cell in pet] == [False, False, True]
    assert found["Average PSNR ↑"] == ("", "<u>31.2500</u>", "**36.8750**")
    text = "\n".join(rest)
    assert "n = MRI: 2 patients, 4 slices; PET: 1 patient, 1 slice" in text
    assert "RMSE in a.u. (MRI), SUV (PET)" in text
    assert f"- {OURS}: MRI +0.500 ± 2.121 (-1.000 to +2.000), n = 2; PET +10.000" in text
    assert f"- {BASELINE}:" not in text


def test_csv_has_a_line_per_method_and_task(larger: ScoreTable, table: ScoreTable) -> None:
    found = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [(row["method"], row["task"]) for row in found] == [
        (BASELINE, "MRI"),
        (BASELINE, "PET"),
        (OURS, "MRI"),
        (OURS, "PET"),
    ]
    ours = found[2]
    assert float(ours["psnr"]) == 23.75
    assert (ours["psnr_lower"], ours["ms_ssim"]) == ("", "")
    assert [float(ours[f"gain_{part}"]) for part in ("mean", "min", "max")] == [0.5, -1, 2]
    assert (ours["patients"], ours["slices"], ours["skipped"]) == ("2", "4", "0")
    [_, clear] = csv.DictReader(io.StringIO(as_csv(larger)))
    assert float(clear["gain_lower"]) < 1 < float(clear["gain_upper"])


def test_patients_and_tests_have_a_line_each(table: ScoreTable) -> None:
    found = list(csv.DictReader(io.StringIO(patients_as_csv(table))))
    assert [(row["patient_id"], row["method"], row["psnr"], row["slices"]) for row in found] == [
        ("a", BASELINE, "20.000000", "3"),
        ("b", BASELINE, "30.000000", "1"),
        ("a", OURS, "22.000000", "3"),
        ("b", OURS, "29.000000", "1"),
        ("c", BASELINE, "40.000000", "1"),
        ("c", OURS, "50.000000", "1"),
    ]
    text = patients_as_markdown(table)
    assert "## MRI super-resolution, n = 2" in text
    assert "| a | 3 | 20.0000 | 0.2000 |" in text
    tests = list(csv.DictReader(io.StringIO(comparisons_as_csv(table))))
    assert len(tests) == 6  # a pair in two tasks and three metrics
    first = tests[0]
    assert (first["method"], first["other"], first["difference"]) == (BASELINE, OURS, "-0.500000")
    assert (first["patients"], first["smallest_p"]) == ("2", "0.5")


def test_a_name_with_the_tables_own_signs_does_not_break_them() -> None:
    odd = 'AMIR (runs/a_b, "b"|c) 100 %'
    scored = rows("CT", "a", [30.0], [31.0])
    scored[1]["method"] = odd
    table = tabulate(pa.Table.from_pylist(scored, schema=SCHEMA), [BASELINE, odd])
    assert list(csv.DictReader(io.StringIO(as_csv(table))))[1]["method"] == odd
    assert r'| AMIR (runs/a_b, "b"\|c) 100 % |' in as_markdown(table)
    assert r'AMIR (runs/a\_b, "b"|c) 100 \% &' in as_latex(table)


def test_latex_holds_two_whole_tables(table: ScoreTable) -> None:
    text = as_latex(table, notes=["Model x_1 was trained elsewhere."])
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert r"x\_1 was trained elsewhere" in text
    assert "n = 2" in text
