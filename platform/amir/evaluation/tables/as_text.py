"""The tables for people, in Markdown and LaTeX: the paper's Table 1, intervals, tests, patients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from amir.evaluation.methods import BASELINE
from amir.evaluation.scan_scores import FURTHER_METRICS, PAPER_METRICS
from amir.evaluation.tables.comparisons import SIGNIFICANT, Paired
from amir.evaluation.tables.grid import HEADS, MARK, Cell, Column, Grid, Row, latex, markdown, ranks
from amir.evaluation.tables.numbers import ScoreTable
from amir.evaluation.tables.patients import TaskScores
from amir.evaluation.tables.statistics import FEWEST_PATIENTS, Interval, smallest_p
from amir.modality import SCORING_RANGES, Modality

TASK_NAMES = {
    Modality.MRI: "MRI super-resolution",
    Modality.CT: "CT denoising",
    Modality.PET: "PET synthesis",
}
AVERAGE = "Average"
INTERVALS = "95 % intervals of the means over slices (patients resampled, BCa bootstrap)"


def score_grid(table: ScoreTable) -> Grid:
    """The paper's Table 1: a dagger on a best value that beats the second beyond chance."""
    columns = [(task, metric) for task in table.tasks for metric in PAPER_METRICS]
    rows = [
        Row(
            (method,),
            (
                *(table.means[method, task][metric] for task, metric in columns),
                *(table.average(method, metric) for metric in PAPER_METRICS),
            ),
        )
        for method in table.methods
    ]
    grid = _grid(table, PAPER_METRICS, rows, average=True)
    marked = {
        (table.methods.index(lead.method), place)
        for place, (task, metric) in enumerate(columns)
        if (lead := leader(table, task, metric)) and lead.is_significant
    }
    return Grid(grid.lead, grid.columns, grid.rows, grid.counts, frozenset(marked))


def leader(table: ScoreTable, task: Modality, metric: str) -> Paired | None:
    """The best method against the second by the printed digits, if each is one alone."""
    column = tuple(Row((m,), (table.means[m, task][metric],)) for m in table.methods)
    places = ranks(Grid((), (Column("", metric),), column), 0)
    best, second = (
        [table.methods[k] for k, rank in places.items() if rank == wanted]
        for wanted in ("best", "second")
    )
    if len(best) != 1 or len(second) != 1:
        return None
    return _between(table, task, metric, best[0], second[0])


def interval_grid(table: ScoreTable) -> Grid:
    """The intervals of the means of Table 1, or n where there are too few patients."""

    def cell(method: str, task: Modality, metric: str) -> Cell:
        found = table.intervals[method, task][metric]
        return few(table.patients[task]) if found is None else spelled(found, "{:.4f}")

    return _grid(table, PAPER_METRICS, _rows(table, PAPER_METRICS, cell))


def further_grid(table: ScoreTable) -> Grid:
    """The further metrics' means."""

    def cell(method: str, task: Modality, metric: str) -> Cell:
        return table.means[method, task][metric]

    return _grid(table, FURTHER_METRICS, _rows(table, FURTHER_METRICS, cell))


def as_markdown(table: ScoreTable, *, notes: Sequence[str] = ()) -> str:
    """Table 1 as people paste it; below it n, who beats the second, and the gains by patient."""
    parts = [markdown(score_grid(table)), "\n".join([_counts(table), *notes]) + "\n"]
    parts += ["\n".join(_leader_lines(table)) + "\n", "\n".join(_gain_lines(table)) + "\n"]
    return "\n".join(parts)


def details_as_markdown(table: ScoreTable) -> str:
    """What table.md holds after Table 1: intervals and further metrics."""
    return "\n".join(
        [
            f"## {INTERVALS}\n",
            markdown(interval_grid(table)),
            "## Further metrics\n",
            markdown(further_grid(table)),
        ]
    )


def as_latex(table: ScoreTable, *, notes: Sequence[str] = ()) -> str:
    """Table 1 and its intervals for LaTeX, with n and the tests in the captions."""
    caption = " ".join(
        [_counts(table), *notes, *(part.strip("- ") for part in _leader_lines(table))]
    )
    return (
        latex(score_grid(table), caption=caption, label="tab:all-in-one")
        + "\n"
        + latex(interval_grid(table), caption=f"{INTERVALS}.", label="tab:intervals")
    )


def patients_as_markdown(table: ScoreTable) -> str:
    """The same, a table for each task and a row for each patient."""
    return "\n".join(
        f"## {TASK_NAMES[task]}, {few(len(found.people))}\n\n"
        f"{markdown(_patient_grid(table, found))}"
        for task, found in table.by_task.items()
    )


def few(patients: int) -> str:
    """What stands in the place of an interval."""
    return f"n = {patients}"


def spelled(interval: Interval, form: str) -> str:
    return f"{form.format(interval.lower)} to {form.format(interval.upper)}"


def _rows(
    table: ScoreTable, metrics: Sequence[str], cell: Callable[[str, Modality, str], Cell]
) -> list[Row]:
    return [
        Row((method,), tuple(cell(method, task, m) for task in table.tasks for m in metrics))
        for method in table.methods
    ]


def _grid(
    table: ScoreTable, metrics: Sequence[str], rows: Iterable[Row], *, average: bool = False
) -> Grid:
    groups = [TASK_NAMES[task] for task in table.tasks] + ([AVERAGE] if average else [])
    return Grid(
        lead=("Method",),
        columns=tuple(Column(group, metric) for group in groups for metric in metrics),
        rows=tuple(rows),
        counts={TASK_NAMES[task]: _count(table, task) for task in table.tasks},
    )


def _patient_grid(table: ScoreTable, found: TaskScores) -> Grid:
    columns = tuple(Column(method, metric) for method in table.methods for metric in PAPER_METRICS)
    means = {column: found.by_patient(column.group, column.metric) for column in columns}
    rows = tuple(
        Row((person, str(found.slices_of(person))), tuple(f"{means[c][k]:.4f}" for c in columns))
        for k, person in enumerate(found.people)
    )
    return Grid(("Patient", "Slices"), columns, rows)


def _between(table: ScoreTable, task: Modality, metric: str, method: str, other: str) -> Paired:
    """The comparison of two methods, in whichever order it was made, as method minus other."""
    for one in table.comparisons:
        if (one.task, one.metric) == (task, metric) and {one.method, one.other} == {method, other}:
            sign = 1 if one.method == method else -1
            return replace(one, method=method, other=other, difference=sign * one.difference)
    raise KeyError((task, metric, method, other))


def _counts(table: ScoreTable) -> str:
    parts = [f"{task}: {_count(table, task)}{_left_out(table, task)}" for task in table.tasks]
    units = ", ".join(f"{SCORING_RANGES[task].unit} ({task})" for task in table.tasks)
    return f"n = {'; '.join(parts)}. Means over slices; PSNR in dB, RMSE in {units}."


def _count(table: ScoreTable, task: Modality) -> str:
    return f"{_counted(table.patients[task], 'patient')}, {_counted(table.slices[task], 'slice')}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _left_out(table: ScoreTable, task: Modality) -> str:
    constant = table.constant[task]
    perfect = table.skipped[task] - constant
    reasons = [f"{constant} with a constant target"] if constant else []
    reasons += [f"{perfect} restored without error"] if perfect else []
    return f" ({' and '.join(reasons)} left out)" if reasons else ""


def _leader_lines(table: ScoreTable) -> list[str]:
    """For every column of Table 1 the best against the second, with what the test says."""
    if len(table.methods) < 2:
        return []
    lines = [
        f"Best against second, paired over patients (mean difference; p by sign-flip permutation, "
        f"Holm-corrected over all pairs and tasks; {MARK} below {SIGNIFICANT:g}):",
        "",
    ]
    for task in table.tasks:
        found = [lead for m in PAPER_METRICS if (lead := leader(table, task, m)) is not None]
        lines.append(f"- {task}, {few(table.patients[task])}: {_verdicts(found)}")
    return lines


def _verdicts(found: Sequence[Paired]) -> str:
    if not found:
        return "no column has one best and one second"
    patients = found[0].patients
    if patients < 2:
        return "one patient allows no test"
    parts = [
        f"{HEADS[one.metric]} {one.method} - {one.other} {one.difference:+.4f}, "
        f"p = {one.corrected:.3g}{f' {MARK}' if one.is_significant else ''}"
        for one in found
    ]
    return f"{'; '.join(parts)} (least p possible before correction: {smallest_p(patients):.2g})"


def _gain_lines(table: ScoreTable) -> list[str]:
    lines = [
        "PSNR gain over the degraded input, dB: mean over patients ± SD (lowest to highest), "
        f"95 % interval from {FEWEST_PATIENTS} patients on",
        "",
    ]
    for method in table.methods:
        if method != BASELINE:
            parts = [_gain_of(table, method, task) for task in table.tasks]
            lines.append(f"- {method}: {'; '.join(parts)}")
    return lines


def _gain_of(table: ScoreTable, method: str, task: Modality) -> str:
    gain = table.gains[method, task]
    span = f"{gain.lowest:+.3f} to {gain.highest:+.3f}"
    sure = f", 95 % {spelled(gain.interval, '{:+.3f}')}" if gain.interval else ""
    n = few(table.patients[task])
    return f"{task} {gain.mean:+.3f} ± {gain.spread:.3f} ({span}){sure}, {n}"
