"""A grid of scores as rows and cells that a page can mark up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from amir.evaluation.tables.grid import (
    DIGITS,
    HEADS,
    LOWER_IS_BETTER,
    MARK,
    NOTHING,
    Cell,
    Grid,
    ranks,
)


@dataclass(frozen=True)
class MarkedCell:
    """rank: best, second or nothing. mark: a dagger or nothing."""

    text: str
    rank: str
    mark: str


@dataclass(frozen=True)
class ScoreTableView:
    """groups: name, its n, how many columns. rows: lead, cells, note in place of the cells."""

    caption: str
    lead: tuple[str, ...]
    groups: tuple[tuple[str, str, int], ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[MarkedCell, ...], str], ...]


def view(grid: Grid, *, caption: str) -> ScoreTableView:
    """The grid with its ranks and marks worked out."""
    groups = [(name, len(list(own))) for name, own in groupby(c.group for c in grid.columns)]
    return ScoreTableView(
        caption,
        grid.lead,
        tuple((name, grid.counts.get(name, ""), width) for name, width in groups),
        tuple(
            f"{HEADS[c.metric]} {'↓' if c.metric in LOWER_IS_BETTER else '↑'}" for c in grid.columns
        ),
        tuple(
            (row.lead, tuple(_cells(grid, number)), row.note)
            for number, row in enumerate(grid.rows)
        ),
    )


def _cells(grid: Grid, number: int) -> Iterator[MarkedCell]:
    for column, cell in enumerate(grid.rows[number].cells):
        rank = ranks(grid, column).get(number, "")
        mark = MARK if (number, column) in grid.marked else ""
        yield MarkedCell(_printed(cell), rank, mark)


def _printed(cell: Cell) -> str:
    if cell is None:
        return NOTHING
    return cell if isinstance(cell, str) else f"{cell:.{DIGITS}f}"
