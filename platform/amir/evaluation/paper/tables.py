"""The paper's tables: for each row what we found here, and under it what the paper prints."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from amir import durable
from amir.config import TableName
from amir.evaluation.methods import BASELINE
from amir.evaluation.paper.printed import printed
from amir.evaluation.paper.results import Metrics, Result
from amir.evaluation.paper.rows import EVERY_TASK, TABLES, PaperRow, PaperTable
from amir.evaluation.scan_scores import PAPER_METRICS
from amir.evaluation.tables.as_text import TASK_NAMES
from amir.evaluation.tables.grid import Cell, Column, Grid, Row, latex, markdown
from amir.modality import Modality

MINIATURE = "miniature: not comparable"
HERE, PAPER = "here", "paper"
AVERAGE = "mean"
NO_TEXT = "printed in the supplement, whose text is not at hand"


@dataclass(frozen=True)
class Findings:
    """results: by recipe. missing: recipe -> why there is no result.

    sizes: recipe -> parameters of the network as large as the paper's, where it can be built.
    facts: lines below each table.
    """

    results: Mapping[str, Result]
    missing: Mapping[str, str]
    sizes: Mapping[str, int]
    miniature: bool
    facts: tuple[str, ...] = ()


class Line(NamedTuple):
    """One line of a table. numbers: by column, those of the paper as text; or a note instead.

    size: of the network that was scored, in full: as large as the paper's; millions, as text.
    """

    name: str
    origin: str
    size: str
    in_full: str
    numbers: Mapping[str, float | str | None]
    note: str = ""


def write_table(name: TableName, found: Findings, folder: Path) -> list[Path]:
    """table_NAME.md, .tex and .csv in the folder."""
    texts = {
        "md": table_markdown(name, found),
        "tex": table_latex(name, found),
        "csv": table_csv(name, found),
    }
    files = [folder / f"table_{name}.{suffix}" for suffix in texts]
    for file, text in zip(files, texts.values(), strict=True):
        durable.write_text(file, text)
    return files


def table_markdown(name: TableName, found: Findings) -> str:
    warning = f"**{MINIATURE}**\n\n" if found.miniature else ""
    notes = "".join(f"- {note}\n" for note in _notes(found))
    return f"# {_title(name)}\n\n{warning}{markdown(table_grid(name, found))}\n{notes}"


def table_latex(name: TableName, found: Findings) -> str:
    sentences = [_title(name), *([MINIATURE] if found.miniature else []), *_notes(found)]
    caption = " ".join(f"{sentence.rstrip('.')}." for sentence in sentences)
    return latex(table_grid(name, found), caption=caption, label=f"tab:paper-{name}")


def table_csv(name: TableName, found: Findings) -> str:
    """A line per row and origin; comparable: with the paper's numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [_key(column) for column in _columns(TABLES[name])]
    sizes = ("parameters_M", "in_full_M")
    writer.writerow(["table", "row", "from", "comparable", *sizes, *keys, "note"])
    for line in _lines(TABLES[name], found):
        comparable = "no" if found.miniature and line.origin == HERE else "yes"
        numbers = [_digits(line.numbers.get(key)) for key in keys]
        ahead = [name, line.name, line.origin, comparable, line.size, line.in_full]
        writer.writerow([*ahead, *numbers, line.note])
    return text.getvalue()


def table_grid(name: TableName, found: Findings) -> Grid:
    """Each row of the paper twice, from here and from there; only ours compete for the marks."""
    table = TABLES[name]
    columns = _columns(table)
    lead = (table.head, "from", *(["parameters, M"] if table.sizes else []))
    rows = []
    for line in _lines(table, found):
        ahead = (line.name, line.origin, *([_size(line)] if table.sizes else []))
        cells: tuple[Cell, ...] = tuple(line.numbers.get(_key(column)) for column in columns)
        rows.append(Row(ahead, () if line.note else cells, line.note))
    shown = tuple(column._replace(group=_heading(column.group)) for column in columns)
    return Grid(lead, shown, tuple(rows), _counts(found))


def _lines(table: PaperTable, found: Findings) -> Iterator[Line]:
    for result in list(found.results.values())[:1]:  # the input is the same for all
        yield Line(BASELINE, HERE, "", "", _numbers(EVERY_TASK, result, result.before))
    for row in table.rows:
        yield _ours(row, found)
        yield _theirs(row)


def _ours(row: PaperRow, found: Findings) -> Line:
    result = found.results.get(row.recipe)
    in_full = f"{found.sizes[row.recipe] / 1e6:.2f}" if row.recipe in found.sizes else ""
    if result is None:
        return Line(row.name, HERE, "", in_full, {}, found.missing[row.recipe])
    size = f"{result.parameters / 1e6:.2f}"
    return Line(row.name, HERE, size, in_full, _numbers(row.tasks, result, result.means))


def _theirs(row: PaperRow) -> Line:
    if row.printed is None:
        return Line(row.name, PAPER, "", "", {}, NO_TEXT)
    theirs = printed(*row.printed)
    size = theirs["params_M"]
    return Line(row.name, PAPER, size, size, {key: text or None for key, text in theirs.items()})


def _size(line: Line) -> str:
    """As scored; and in full, where that is another."""
    if line.size in ("", line.in_full):
        return line.in_full
    return f"{line.size} (in full {line.in_full})"


def _numbers(
    tasks: Sequence[Modality], result: Result, means: Callable[[Modality], Metrics]
) -> dict[str, float | str | None]:
    """Column -> mean over slices; and over the tasks, where all are there."""
    known = [task for task in tasks if task in result.table.tasks]
    numbers: dict[str, float | str | None] = {
        f"{task.lower()}_{metric}": means(task)[metric]
        for task in known
        for metric in PAPER_METRICS
    }
    for metric in PAPER_METRICS if len(known) == len(EVERY_TASK) else ():
        values = [value for task in known if (value := means(task)[metric]) is not None]
        complete = len(values) == len(known)
        numbers[f"{AVERAGE}_{metric}"] = float(np.mean(values)) if complete else None
    return numbers


def _columns(table: PaperTable) -> tuple[Column, ...]:
    """group: mri, ct, pet or mean, as in scores.csv."""
    groups = [*(task.lower() for task in EVERY_TASK), *([AVERAGE] if table.averages else [])]
    return tuple(Column(group, metric) for group in groups for metric in PAPER_METRICS)


def _key(column: Column) -> str:
    return f"{column.group}_{column.metric}"


def _heading(group: str) -> str:
    return "Average" if group == AVERAGE else TASK_NAMES[Modality(group.upper())]


def _counts(found: Findings) -> dict[str, str]:
    for result in found.results.values():
        table = result.table
        return {
            TASK_NAMES[task]: f"{table.patients[task]} patients, {table.slices[task]} slices"
            for task in table.tasks
        }
    return {}


def _title(name: TableName) -> str:
    number = "Supplement, Table I" if name == "S1" else f"Table {name}"
    return f"{number}: {TABLES[name].caption}"


def _notes(found: Findings) -> list[str]:
    return [
        f"{HERE}: this platform; {PAPER}: as the paper prints it. Only numbers from here compete "
        "for bold (best) and underlined (second)",
        "one run each: differences below some 0.05 dB are noise until repeated seeds say otherwise"
        + ("; of a miniature, far larger ones too" if found.miniature else ""),
        *found.facts,
    ]


def _digits(number: float | str | None) -> str:
    if number is None or isinstance(number, str):
        return number or ""
    return f"{number:.6f}"
