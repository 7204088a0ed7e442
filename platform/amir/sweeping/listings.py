"""Tables of the summary page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from amir.pages.listing import Listing
from amir.sweeping.course_figures import steps_of
from amir.sweeping.record import State, Sweep, Trial
from amir.sweeping.subject import Subject, short, written

BEST = 10
STATES: tuple[State, ...] = ("finished", "stopped", "failed", "running")


def list_best(subject: Subject) -> Listing:
    """Gain, each task's and the least of the best trials, and their settings."""
    names = list(subject.settings.space)
    rows = [
        (
            trial.name,
            f"{trial.rungs[-1].objective:+.3f}",
            *(_gain(trial.rungs[-1].gains.get(task)) for task in subject.tasks),
            f"{trial.rungs[-1].minimum:+.3f}",
            _ended(trial),
            *(written(trial.parameters[name]) for name in names),
        )
        for trial in subject.ranking[:BEST]
    ]
    return Listing(
        f"Best {len(rows)} of {len(subject.sweep.search)} trials",
        ("Trial", "Gain, dB", *subject.tasks, "Least", "Ended", *map(short, names)),
        tuple(rows),
        "Mean over the tasks of the PSNR gain over the degraded input at the last validation; "
        "least: of the task that gains least."
        if rows
        else "No trial has been validated yet.",
    )


def list_costs(subject: Subject) -> Listing:
    """Steps and seconds: of the search, of the repetitions, of both."""
    search = subject.sweep.search
    again = [trial for trial in subject.sweep.trials if trial.confirms is not None]
    parts = [("search", search)] + ([("confirmation", again)] if again else [])
    parts += [("all", [*search, *again])] if again else []
    return Listing(
        "What it took",
        (
            "",
            "Trials",
            *map(str.capitalize, STATES),
            "Steps",
            "of those in full",
            "Done twice",
            "Training",
            "Start-up",
            "Start-up per trial",
            "Restarts",
        ),
        tuple(_cost_row(name, trials, subject.sweep) for name, trials in parts),
        "Steps in full: of as many trials without stopping. Done twice: lost when a trial was "
        "killed. Training: validation included; time of each trial, so trials side by side "
        "count each.",
    )


def list_confirmed(subject: Subject) -> Listing:
    """The best trials over fresh seeds."""
    rows = []
    for trial, again in subject.repeated():
        gains = np.array([t.rungs[-1].objective for t in again])
        least = np.mean([t.rungs[-1].minimum for t in again])
        spread = f"{gains.std(ddof=1):.3f}" if len(gains) > 1 else "-"
        rows.append(
            (
                trial.name,
                f"{trial.rungs[-1].objective:+.3f}",
                str(len(gains)),
                f"{gains.mean():+.3f}",
                spread,
                f"{gains.min():+.3f}",
                f"{least:+.3f}",
            )
        )
    return Listing(
        "Repeated with fresh seeds",
        ("Trial", "In the search, dB", "Seeds", "Mean", "Spread (SD)", "Worst", "Least task, mean"),
        tuple(rows),
    )


def list_failures(subject: Subject) -> Listing:
    failed = [trial for trial in subject.sweep.trials if trial.state == "failed"]
    names = list(subject.settings.space)
    rows = [
        (t.name, t.reason or "", *(written(t.parameters[name]) for name in names)) for t in failed
    ]
    return Listing("Trials that failed", ("Trial", "Reason", *map(short, names)), tuple(rows))


def list_space(subject: Subject) -> Listing:
    rows = []
    for name, axis in subject.settings.space.items():
        if axis.values is not None:
            told = "one of " + ", ".join(map(written, axis.values))
        else:
            told = f"{written(axis.lower)} to {written(axis.upper)}"
            told += ", evenly on the logarithm" if axis.log else ""
        rows.append((name, told))
    return Listing("Space", ("Setting", "Values"), tuple(rows))


def list_rules(subject: Subject) -> Listing:
    """How the search chose, stopped, repeated."""
    settings = subject.settings
    rows = [
        ("search", settings.search),
        ("seed of the search", str(settings.seed)),
        ("scheduler", settings.scheduler.name),
        ("compared at steps", ", ".join(map(str, subject.rungs))),
    ]
    if settings.scheduler.name == "asha":
        rows.append(("goes on at a rung", f"the best 1 of {settings.scheduler.reduction}"))
    if settings.confirm.top:
        told = f"best {settings.confirm.top} with {settings.confirm.seeds} fresh seeds each"
        rows.append(("confirmation", told))
    return Listing("Rules", ("", ""), tuple(rows))


def list_shared(subject: Subject) -> Listing:
    swept = set(subject.settings.space)
    hidden = ("storage", "run", "tracking.", "data.path")
    rows = [
        (name, written(value))
        for name, value in subject.common.items()
        if name not in swept and not name.startswith(hidden)
    ]
    return Listing("Settings that all trials share", ("Setting", "Value"), tuple(rows))


def counted(trials: Sequence[Trial]) -> str:
    states = [trial.state for trial in trials]
    return ", ".join(f"{states.count(s)} {s}" for s in STATES if s in states)


def _cost_row(name: str, trials: Sequence[Trial], sweep: Sweep) -> tuple[str, ...]:
    states = [trial.state for trial in trials]
    steps, full = sum(map(steps_of, trials)), len(trials) * sweep.steps
    training = sum(trial.rungs[-1].seconds for trial in trials if trial.rungs)
    startup = sum(trial.startup_seconds for trial in trials)
    started = sum(trial.attempts > 0 for trial in trials)
    again = sum(max(0, t.steps_run - t.step) for t in trials if t.state in ("finished", "stopped"))
    return (
        name,
        str(len(trials)),
        *(str(states.count(state)) for state in STATES),
        f"{steps:,}",
        f"{steps / max(full, 1):.0%} of {full:,}",
        f"{again:,}",
        seconds(training),
        seconds(startup),
        f"{startup / max(started, 1):.1f} s",
        str(sum(max(0, trial.attempts - 1) for trial in trials)),
    )


def seconds(value: float) -> str:
    """As a person would say it: 45 s, 12 min, 3.4 h."""
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _gain(value: Any) -> str:
    return "" if value is None else f"{value:+.2f}"


def _ended(trial: Trial) -> str:
    return f"{'in full' if trial.state == 'finished' else trial.state}, step {trial.step}"


def markdown(subject: Subject) -> str:
    """The best trials as a table of Markdown, with the full names of the settings."""
    best = list_best(subject)
    names = list(subject.settings.space)
    lines = [(*best.heads[: -len(names)], *names), ("---",) * len(best.heads), *best.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
