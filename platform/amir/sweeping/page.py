"""summary.html: everything about a sweep, running or ended, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

from amir import durable
from amir.pages.render import render
from amir.sweeping.course_figures import (
    draw_confirmation,
    draw_costs,
    draw_learning,
    draw_tasks,
    steps_of,
)
from amir.sweeping.importance_figure import draw_importance
from amir.sweeping.listings import (
    counted,
    list_best,
    list_confirmed,
    list_costs,
    list_failures,
    list_rules,
    list_shared,
    list_space,
    markdown,
    seconds,
)
from amir.sweeping.parallel_figure import draw_parallel
from amir.sweeping.record import Trial, read_sweep
from amir.sweeping.setting_figures import draw_settings
from amir.sweeping.subject import Subject, short, subject_of, written

TEMPLATE = Path(__file__).parent / "templates" / "sweep.html.j2"


def write_summary(folder: Path) -> Path:
    """Write summary.html into a sweep's folder. InputError if the folder is no sweep's."""
    subject = subject_of(read_sweep(folder))
    page = folder / "summary.html"
    durable.write_text(page, render(TEMPLATE, contents(subject)))
    return page


def contents(subject: Subject) -> dict[str, Any]:
    """What the template shows, by name."""
    sweep = subject.sweep
    several = bool(subject.ranking)
    return {
        "name": subject.settings.name,
        "space": subject.settings.space,
        "search": subject.settings.search,
        "status": _status(subject),
        "dataset": sweep.about["dataset_digest"],
        "code": sweep.about["code_version"],
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "tiles": _tiles(subject),
        "notes": _notes(subject),
        "best": list_best(subject),
        "markdown": markdown(subject),
        "tasks": draw_tasks(subject),
        "parallel": draw_parallel(subject) if several else None,
        "by_setting": list(draw_settings(subject)) if several else [],
        "importance": draw_importance(subject),
        "learning": draw_learning(subject) if several else None,
        "costs": list_costs(subject),
        "cost_charts": draw_costs(subject),
        "confirmation": draw_confirmation(subject),
        "confirmed": list_confirmed(subject),
        "failures": list_failures(subject),
        "searched": list_space(subject),
        "rules": list_rules(subject),
        "shared": list_shared(subject),
        "commands": _commands(subject),
    }


def _status(subject: Subject) -> str:
    trials, asked = subject.sweep.trials, subject.settings.trials
    under_way = sum(trial.state == "running" for trial in trials)
    drawn = len(subject.sweep.search)
    total = drawn if asked is None else max(asked, drawn)
    if under_way or drawn < total:
        return f"not ended: {drawn} of {total} trials drawn, {under_way} under way"
    return f"{drawn} trials, ended"


def _tiles(subject: Subject) -> list[dict[str, Any]]:
    search = subject.sweep.search
    steps, full = sum(map(steps_of, search)), subject.sweep.steps * len(search)
    training = sum(trial.rungs[-1].seconds for trial in search if trial.rungs)
    startup = sum(trial.startup_seconds for trial in search)
    return [
        *_best_tiles(subject),
        {
            "head": "Trials",
            "big": str(len(search)),
            "lines": [counted(search)],
        },
        {
            "head": "Optimizer steps",
            "big": f"{steps / max(full, 1):.0%}",
            "lines": [f"{steps:,} of the {full:,} that all trials take in full"],
        },
        {
            "head": "Time in trials",
            "big": seconds(training),
            "lines": [f"and {seconds(startup)} of start-up"],
        },
    ]


def _best_tiles(subject: Subject) -> list[dict[str, Any]]:
    if not subject.ranking:
        return []
    trial = subject.ranking[0]
    rung = trial.rungs[-1]
    least = min(rung.gains, key=lambda task: rung.gains[task]) if rung.gains else "task"
    far = "in full" if trial.state == "finished" else f"to step {trial.step} so far"
    tiles = [
        {
            "head": "Best gain",
            "big": f"{rung.objective:+.2f} dB",
            "lines": [
                f"trial {trial.name}, trained {far}; {least} gains least, {rung.minimum:+.2f} dB",
                ", ".join(f"{short(n)} {written(v)}" for n, v in trial.parameters.items()),
            ],
        }
    ]
    repeated = {trial.number: again for trial, again in subject.repeated()}
    if repeated:
        number, again = max(repeated.items(), key=lambda one: _mean(one[1]))
        spread = subject.seed_spread()
        tiles.append(
            {
                "head": "Confirmed",
                "big": f"{_mean(again):+.2f} dB",
                "lines": [
                    f"trial {number:03d} over {len(again)} fresh seeds"
                    + ("" if spread is None else f"; one seed differs by {spread:.2f} dB (SD)")
                ],
            }
        )
    return tiles


def _mean(trials: Sequence[Trial]) -> float:
    return mean(trial.rungs[-1].objective for trial in trials)


def _notes(subject: Subject) -> list[str]:
    """What a reader should hold against the numbers."""
    notes = [
        "The search kept the largest of many gains on the same validation slices: the best one is "
        "flattered. Judge a model by the test split, after confirmation with fresh seeds."
    ]
    bought = [
        trial.name
        for trial in subject.ranking[:3]
        if trial.state == "finished" and trial.rungs[-1].minimum < 0
    ]
    if bought:
        notes.append(
            f"Bought with another task: of {', '.join(bought)} among the best three, a task is "
            "worse than its input."
        )
    least = max(subject.ranking, key=lambda t: t.rungs[-1].minimum, default=None)
    if least is not None and least is not subject.ranking[0]:
        rung = least.rungs[-1]
        notes.append(
            f"The task that gains least gains most in trial {least.name}: {rung.minimum:+.2f} dB, "
            f"at {rung.objective:+.2f} dB on average (step {least.step})."
        )
    return notes


def _commands(subject: Subject) -> str:
    """How to run it again, and how to go on with the best."""
    name = subject.settings.name
    lines = [
        f"python tune/search.py --config {name}.yaml --data DATASET",
        f"python tune/summary.py --sweep {name}",
    ]
    if subject.ranking:
        trial = subject.ranking[0]
        options = " ".join(f"--{n} {_option(v)}" for n, v in trial.parameters.items())
        lines.append(
            f"python jobs/train_all_in_one.py --data DATASET --config CONFIG.yaml {options}"
        )
    return "\n".join(lines)


def _option(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
