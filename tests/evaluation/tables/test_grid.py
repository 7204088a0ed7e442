"""The layout of the paper's tables."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from amir.evaluation.tables.grid import Column, Grid, Row, latex, markdown, ranks

TASKS = ("MRI super-resolution", "CT denoising")
GRID = Grid(
    lead=("Method", "Params"),
    columns=tuple(Column(task, metric) for task in TASKS for metric in ("psnr", "rmse")),
    rows=(
        Row(("Restormer", "26.12 M"), (31.7177, 30.0549, None, None)),
        Row(("AMIR & co_1", "23.54 M"), (32.0262, 29.0988, 33.7011, 8.4520)),
        Row(("AirNet", "7.61 M"), note="not here yet"),
        Row(("w/o CRM", "23.37 M"), (31.9802, 29.2251, 33.6814, "n = 1")),
    ),
    counts={"MRI super-resolution": "114 patients", "CT denoising": "1 patient"},
    marked=frozenset({(1, 0)}),
)


def column(*values: float | None, metric: str = "ssim") -> Grid:
    return Grid((), (Column("", metric),), tuple(Row((), (value,)) for value in values))


def test_best_and_second_go_by_value() -> None:
    assert ranks(column(0.91, 0.93, 0.92), 0) == {1: "best", 2: "second"}
    assert ranks(column(8.4, 8.5, 9.0, metric="rmse"), 0) == {0: "best", 1: "second"}


def test_what_prints_alike_is_marked_alike() -> None:
    # Table 2 of the paper underlines 0.9183 twice.
    found = ranks(column(0.91831, 0.91834, 0.9189, 0.9), 0)
    assert found == {2: "best", 0: "second", 1: "second"}


def test_a_missing_value_is_neither() -> None:
    assert ranks(column(None, 0.5), 0) == {1: "best"}


def test_markdown_has_a_cell_for_every_head() -> None:
    lines = markdown(GRID).splitlines()
    assert {line.count("|") for line in lines} == {7}
    assert lines[0].startswith("| Method | Params | MRI super-resolution PSNR ↑ |")
    assert "| **32.0262** † | **29.0988** | **33.7011** | **8.4520** |" in lines[4]
    assert lines[3].endswith("| 31.7177 | 30.0549 | – | – |")  # noqa: RUF001
    assert "not here yet" in lines[5]
    assert lines[6].endswith("| <u>31.9802</u> | <u>29.2251</u> | <u>33.6814</u> | n = 1 |")


@pytest.fixture
def tex() -> str:
    return latex(GRID, caption="5 % of a_b", label="tab:x")


def test_latex_closes_all_it_opens(tex: str) -> None:
    opened = re.findall(r"\\begin\{(\w+)\}", tex)
    closed = re.findall(r"\\end\{(\w+)\}", tex)
    assert opened == closed[::-1] == ["table", "tabular"]
    plain = re.sub(r"\\[\\{}%&_#$]", "", tex)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert [line for line in tex.splitlines() if not line.isascii()] == []


def test_every_latex_row_fills_the_columns(tex: str) -> None:
    rows = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3 + len(GRID.rows)
    assert {width(row) for row in rows} == {6}
    assert r"\begin{tabular}{llcccc}" in tex
    assert r"\cmidrule(lr){3-4} \cmidrule(lr){5-6}" in tex


def width(row: str) -> int:
    """Columns that a row of LaTeX takes."""
    cells = re.split(r"(?<!\\)&", row.removesuffix(r"\\"))
    spans = [re.match(r"\s*\\multicolumn\{(\d+)\}", cell) for cell in cells]
    return sum(int(span[1]) if span else 1 for span in spans)


def test_latex_marks_like_the_paper_and_escapes_names(tex: str) -> None:
    assert r"AMIR \& co\_1 & 23.54 M & \textbf{32.0262}$^{\dagger}$ & \textbf{29.0988}" in tex
    assert r"\underline{31.9802}" in tex
    assert r"\multicolumn{4}{c}{not here yet}" in tex
    assert r"\multicolumn{2}{c}{114 patients}" in tex
    assert r"\caption{5 \% of a\_b}" in tex


def test_without_counts_there_is_no_row_of_n() -> None:
    assert "| n |" not in markdown(replace(GRID, counts={}))
