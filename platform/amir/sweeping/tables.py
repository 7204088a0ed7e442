"""What a sweep came to, as tables of Markdown that can be pasted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean, stdev
from typing import Any

from amir.sweeping.record import Sweep, Trial

BEST = 10


def ranked(sweep: Sweep) -> list[Trial]:
    """The finished trials of the search, the best first."""
    finished = [trial for trial in sweep.search if trial.state == "finished" and trial.rungs]
    return sorted(finished, key=lambda trial: -(trial.objective or 0.0))


def summary(sweep: Sweep) -> str:
    """What the search cost, its best trials, and what their repetitions with other seeds say."""
    parts = [costs(sweep), best_trials(sweep), confirmed_trials(sweep)]
    return "\n\n".join(part for part in parts if part)


def best_trials(sweep: Sweep, *, rows: int = BEST) -> str:
    """Finished trials with their gain, that of the task that gains least, and their parameters."""
    found = ranked(sweep)[:rows]
    if not found:
        return "no trial was trained in full"
    names = list(found[0].parameters)
    table = [["trial", "gain (dB)", "least task (dB)", *names]]
    for trial in found:
        values = [_number(trial.parameters[name]) for name in names]
        table.append([trial.name, _gain(trial.rungs[-1].objective), _least(trial), *values])
    return _markdown(table)


def confirmed_trials(sweep: Sweep) -> str:
    """Mean and standard deviation over fresh seeds; the search's own seed chose, and is apart."""
    table = [
        ["trial", "in the search (dB)", "seeds", "mean (dB)", "spread (dB)", "least task (dB)"]
    ]
    for trial in ranked(sweep):
        again = [t for t in sweep.confirmations(trial.number) if t.state == "finished"]
        if again:
            gains = [t.rungs[-1].objective for t in again]
            least = mean(t.rungs[-1].minimum for t in again)
            spread = f"{stdev(gains):.3f}" if len(gains) > 1 else "-"
            told = [_gain(trial.rungs[-1].objective), str(len(again)), _gain(mean(gains)), spread]
            table.append([trial.name, *told, _gain(least)])
    return _markdown(table) if len(table) > 1 else ""


def costs(sweep: Sweep) -> str:
    """How much of training everything in full the search took, and what start-up took beside."""
    trials = sweep.search
    run = sum(trial.steps_run for trial in trials)
    whole = len(trials) * sweep.steps
    states = [trial.state for trial in trials]
    training = sum(trial.rungs[-1].seconds for trial in trials if trial.rungs)
    startup = sum(trial.startup_seconds for trial in trials)
    counted = ", ".join(
        f"{states.count(state)} {state}"
        for state in ("finished", "stopped", "failed", "running")
        if state in states
    )
    return (
        f"{len(trials)} trials: {counted}; {run} optimizer steps, {run / whole:.0%} of {whole}; "
        f"{training:.0f} s of training and validation, {startup:.0f} s of start-up "
        f"({startup / max(training + startup, 1e-9):.0%})"
    )


def _least(trial: Trial) -> str:
    rung = trial.rungs[-1]
    task = min(rung.gains, key=lambda name: rung.gains[name])
    return f"{task} {_gain(rung.minimum)}"


def _gain(value: float) -> str:
    return f"{value:+.3f}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _markdown(table: Sequence[Sequence[str]]) -> str:
    return "\n".join(_lines(table))


def _lines(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    for number, row in enumerate(table):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"
