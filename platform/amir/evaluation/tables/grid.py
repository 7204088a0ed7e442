"""The layout of the paper's tables: methods down, groups of metrics across; Markdown and LaTeX.

In each column the best value is bold and the second underlined, going by the printed digits as the
paper does: what prints alike is marked alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

DIGITS = 4
LOWER_IS_BETTER = frozenset({"rmse", "nrmse"})
HEADS = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "rmse": "RMSE",
    "fixed_psnr": "fixed-range PSNR",
    "fixed_ssim": "fixed-range SSIM",
    "nrmse": "NRMSE",
    "ms_ssim": "MS-SSIM",
    "volume_psnr": "volume PSNR",
    "volume_ssim": "volume SSIM",
}
MARK = "†"
NOTHING = "\N{EN DASH}"

Cell = float | str | None  # text is printed as it is and takes no part in the ranking


class Column(NamedTuple):
    """group: the task's name, or Average. metric: a key of HEADS."""

    group: str
    metric: str


@dataclass(frozen=True)
class Row:
    """lead: the left columns, such as the method's name. note: printed in place of the cells."""

    lead: tuple[str, ...]
    cells: tuple[Cell, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """lead: heads of the left columns. counts: group -> its n. marked: (row, column) with a dagger.

    A row has a cell for each column, or a note.
    """

    lead: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    counts: Mapping[str, str] = field(default_factory=dict)
    marked: frozenset[tuple[int, int]] = frozenset()


def markdown(grid: Grid) -> str:
    """A table for GitHub and the like; the second best is underlined by <u>."""
    arrows = {True: "↓", False: "↑"}
    heads = [f"{c.group} {HEADS[c.metric]} {arrows[_lower(c)]}" for c in grid.columns]
    lines = [_line([*grid.lead, *heads]), _line(["---"] * (len(grid.lead) + len(heads)))]
    if grid.counts:
        lines.append(_line([*_count_lead(grid), *_counts_across(grid)]))
    styles = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
    for number, row in enumerate(grid.rows):
        cells = _texts(grid, number, styles, mark=f" {MARK}") or [row.note] + [""] * (
            len(grid.columns) - 1
        )
        lines.append(_line([*(_plain(part) for part in row.lead), *cells]))
    return "\n".join(lines) + "\n"


def latex(grid: Grid, *, caption: str, label: str) -> str:
    """A table float for booktabs and graphicx."""
    spans = [(name, len(list(members))) for name, members in groupby(c.group for c in grid.columns)]
    lead, width = len(grid.lead), len(grid.columns)
    groups = [""] * lead + [_across(count, _escape(name)) for name, count in spans]
    arrows = {True: r"$\downarrow$", False: r"$\uparrow$"}
    heads = [f"{HEADS[c.metric]} {arrows[_lower(c)]}" for c in grid.columns]
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{_escape(caption)}}}",
        rf"\label{{{label}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{{'l' * lead}{'c' * width}}}",
        r"\toprule",
        _row(groups),
        _rules(spans, lead),
    ]
    if grid.counts:
        lines.append(
            _row(
                [_escape(part) for part in _count_lead(grid)]
                + [_across(count, _escape(grid.counts.get(name, ""))) for name, count in spans]
            )
        )
    lines += [_row([*map(_escape, grid.lead), *heads]), r"\midrule"]
    styles = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}
    for number, row in enumerate(grid.rows):
        cells = _texts(grid, number, styles, mark=r"$^{\dagger}$")
        parts = [_tex_text(cell) for cell in cells] or [_across(width, _escape(row.note))]
        lines.append(_row([*map(_escape, row.lead), *parts]))
    lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def ranks(grid: Grid, column: int) -> Mapping[int, str]:
    """Row -> "best" or "second", by the printed digits."""
    printed = {
        number: float(f"{value:.{DIGITS}f}")
        for number, row in enumerate(grid.rows)
        if row.cells and isinstance(value := row.cells[column], float)
    }
    order = sorted(set(printed.values()), reverse=not _lower(grid.columns[column]))
    names = dict(zip(order, ("best", "second"), strict=False))
    return {number: names[value] for number, value in printed.items() if value in names}


def _texts(grid: Grid, number: int, styles: Mapping[str, str], *, mark: str) -> list[str]:
    """A row's cells as text, ranked and marked; none for a row with a note."""
    texts = []
    for column, cell in enumerate(grid.rows[number].cells):
        style = styles[ranks(grid, column).get(number, "")]
        text = style.format(_printed(cell))
        texts.append(text + (mark if (number, column) in grid.marked else ""))
    return texts


def _printed(cell: Cell) -> str:
    if cell is None:
        return NOTHING
    return cell if isinstance(cell, str) else f"{cell:.{DIGITS}f}"


def _lower(column: Column) -> bool:
    return column.metric in LOWER_IS_BETTER


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """Text in a cell of a Markdown table."""
    return text.replace("|", r"\|")


def _count_lead(grid: Grid) -> list[str]:
    return ["n", *[""] * (len(grid.lead) - 1)]


def _counts_across(grid: Grid) -> list[str]:
    """Each group's count in its first column."""
    groups = [column.group for column in grid.columns]
    return [
        grid.counts.get(group, "") if groups.index(group) == place else ""
        for place, group in enumerate(groups)
    ]


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _across(columns: int, text: str) -> str:
    return rf"\multicolumn{{{columns}}}{{c}}{{{text}}}"


def _rules(spans: Sequence[tuple[str, int]], lead: int) -> str:
    """A line under each group's name."""
    rules, first = [], lead + 1
    for _, count in spans:
        rules.append(rf"\cmidrule(lr){{{first}-{first + count - 1}}}")
        first += count
    return " ".join(rules)


def _tex_text(text: str) -> str:
    return text.replace(NOTHING, "--")


SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        NOTHING: "--",
        "±": r"$\pm$",
        "†": r"$^{\dagger}$",
    }
    | {sign: f"\\{sign}" for sign in "&%$#_{}"}
)


def _escape(text: str) -> str:
    return text.translate(SPECIAL)
