"""How trials went: what they learned, what they cost, what each task has of it, what holds."""

from __future__ import annotations

import numpy as np

from amir.evaluation.charts import INK, TASK_COLOURS, Chart, drawing
from amir.modality import Modality
from amir.sweeping.record import Trial
from amir.sweeping.subject import Subject

STATE_COLOURS = {
    "finished": "#009E73",
    "stopped": "#8f969d",
    "failed": "#D55E00",
    "running": "#56B4E9",
}
BEST_COLOUR = "#e0701a"
SHOWN = 12  # trials of which the tasks are told apart


def draw_learning(subject: Subject) -> Chart:
    """Gain against steps; a cross where a trial was stopped."""
    with drawing(6.4, 3.8) as drawn:
        axis = drawn.figure.subplots()
        best = subject.ranking[0] if subject.ranking else None
        for trial in reversed(subject.ranking):
            steps = [rung.step for rung in trial.rungs]
            gains = [rung.objective for rung in trial.rungs]
            chosen = trial is best
            colour = BEST_COLOUR if chosen else STATE_COLOURS[trial.state]
            axis.plot(
                steps, gains, color=colour, lw=2.4 if chosen else 1.0, alpha=1 if chosen else 0.7
            )
            if trial.state in ("stopped", "failed"):
                axis.plot(steps[-1], gains[-1], "x", color=colour, markersize=5)
            elif trial.state == "running":
                axis.plot(steps[-1], gains[-1], "o", color=colour, markersize=4)
        for step in subject.rungs[:-1]:
            axis.axvline(step, color=INK, linewidth=0.8, linestyle=":")
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.set(xlabel="step", ylabel="mean PSNR gain over tasks, dB", xlim=(0, None))
        axis.set_ylim(*_without_the_worst(subject.ranking))
        _legend(axis, subject)
    return Chart(
        "learning",
        "Validation gain of each trial. A cross: stopped there, at one of the rungs (dotted).",
        f"{len(subject.ranking)} curves"
        + (f"; the best ends at {best.objective:+.2f} dB." if best and best.objective else "."),
        drawn.svg,
    )


def draw_costs(subject: Subject) -> list[Chart]:
    """Steps and seconds, where there are any."""
    begun = any(trial.attempts or trial.steps_run for trial in subject.sweep.search)
    return [_draw_steps(subject), _draw_seconds(subject)] if begun else []


def _draw_steps(subject: Subject) -> Chart:
    """Optimizer steps of each trial beside those of training it in full."""
    trials, full = subject.sweep.search, subject.sweep.steps
    with drawing(5.0, 3.0) as drawn:
        axis = drawn.figure.subplots()
        for state, colour in STATE_COLOURS.items():
            own = [trial for trial in trials if trial.state == state]
            if own:
                axis.bar(
                    [trial.number for trial in own],
                    [steps_of(trial) for trial in own],
                    width=0.85,
                    color=colour,
                    label=state,
                )
        axis.axhline(full, color=INK, linewidth=0.9, linestyle=":")
        axis.set(xlabel="trial", ylabel="optimizer steps", ylim=(0, 1.12 * full))
        axis.grid(visible=False, axis="x")
        axis.legend(loc="upper center", ncols=4, bbox_to_anchor=(0.5, 1.16))
    spent, whole = sum(map(steps_of, trials)), full * len(trials)
    return Chart(
        "steps",
        "Steps of each trial; dotted: in full. Above the bars is what stopping has saved.",
        f"{spent} of {whole} steps, {spent / max(whole, 1):.0%}.",
        drawn.svg,
    )


def _draw_seconds(subject: Subject) -> Chart:
    """Training and start-up of each trial, apart."""
    trials = [trial for trial in subject.sweep.search if trial.attempts]
    numbers = [trial.number for trial in trials]
    startup = [trial.startup_seconds for trial in trials]
    training = [trial.rungs[-1].seconds if trial.rungs else 0.0 for trial in trials]
    with drawing(5.0, 3.0) as drawn:
        axis = drawn.figure.subplots()
        axis.bar(numbers, training, 0.85, color="#2f7fc1", label="training and validation")
        axis.bar(numbers, startup, 0.85, bottom=training, color="#E69F00", label="start-up")
        axis.set(xlabel="trial", ylabel="seconds")
        axis.grid(visible=False, axis="x")
        axis.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.16))
    return Chart(
        "seconds",
        "Time of each trial, all its attempts together. Start-up: from the scheduler's decision to "
        "the first step.",
        f"{sum(training):.0f} s of training and validation, {sum(startup):.0f} s of start-up.",
        drawn.svg,
    )


def draw_tasks(subject: Subject) -> Chart | None:
    """Gain of each task of the best trials; a task must not be bought with another."""
    trials = subject.ranking[:SHOWN]
    if not trials or not trials[0].rungs[-1].gains:
        return None
    with drawing(5.6, 1.0 + 0.25 * len(trials)) as drawn:
        axis = drawn.figure.subplots()
        places = np.arange(len(trials))
        for place, trial in zip(places, trials, strict=True):
            gains = list(trial.rungs[-1].gains.values())
            axis.plot([min(gains), max(gains)], [place, place], color=INK, lw=0.8, zorder=1)
        for task in subject.tasks:
            gains = [trial.rungs[-1].gains.get(task, np.nan) for trial in trials]
            colour = TASK_COLOURS[Modality(task)]
            axis.plot(gains, places, "o", color=colour, markersize=6, label=task, zorder=3)
        means = [trial.rungs[-1].objective for trial in trials]
        axis.plot(means, places, "|", color=INK, markersize=11, mew=1.8, label="mean", zorder=2)
        axis.axvline(0, color=INK, linewidth=0.8)
        axis.set_yticks(places, [_name(trial) for trial in trials])
        axis.invert_yaxis()
        axis.set(xlabel="PSNR gain at the last validation, dB")
        axis.legend(loc="upper center", ncols=4, bbox_to_anchor=(0.4, 1 + 0.5 / len(trials) + 0.06))
    return Chart(
        "tasks",
        "The best trials, the best on top, task by task. Left of the line at 0 a task is worse "
        "than its input.",
        " ".join(
            f"{_name(trial)}: least {trial.rungs[-1].minimum:+.2f} dB." for trial in trials[:3]
        ),
        drawn.svg,
    )


def draw_confirmation(subject: Subject) -> Chart | None:
    """Trials trained again with other seeds: what the choice of the best has flattered."""
    repeated = list(subject.repeated())
    if not repeated:
        return None
    with drawing(5.6, 1.3 + 0.42 * len(repeated)) as drawn:
        axis = drawn.figure.subplots()
        for place, (trial, again) in enumerate(repeated):
            gains = np.array([t.rungs[-1].objective for t in again])
            axis.plot(
                gains, np.full(len(gains), place), "o", color="#2f7fc1", ms=5, alpha=0.8, mew=0
            )
            axis.plot(gains.mean(), place, "|", color=INK, markersize=16, mew=2)
            found = trial.rungs[-1].objective
            axis.plot(found, place, "D", mfc="none", color=BEST_COLOUR, markersize=6)
        axis.plot([], [], "D", mfc="none", color=BEST_COLOUR, label="in the search")
        axis.plot([], [], "o", color="#2f7fc1", label="fresh seeds")
        axis.plot([], [], "|", color=INK, markersize=12, mew=2, label="their mean")
        axis.set_yticks(range(len(repeated)), [trial.name for trial, _ in repeated])
        axis.set_ylim(len(repeated) - 0.5, -0.5)
        axis.set(xlabel="gain after all steps, dB", ylabel="trial")
        axis.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.45, 1.05 + 0.5 / len(repeated)))
    return Chart(
        "confirmation",
        "The best trials once more with fresh seeds. The search kept what came out best, so its "
        "own number is the more flattering one.",
        " ".join(
            f"{trial.name}: {np.mean([t.rungs[-1].objective for t in again]):+.2f} dB on average "
            f"of {len(again)}."
            for trial, again in repeated
        ),
        drawn.svg,
    )


def steps_of(trial: Trial) -> int:
    """Steps done, as far as is known of a trial under way."""
    return max(trial.steps_run, trial.step)


def _name(trial: Trial) -> str:
    return (
        trial.name if trial.state == "finished" else f"{trial.name} ({trial.state} at {trial.step})"
    )


def _without_the_worst(trials: list[Trial]) -> tuple[float | None, float | None]:
    gains = [rung.objective for trial in trials for rung in trial.rungs]
    if len(gains) < 2:
        return None, None
    low, high = float(np.percentile(gains, 3)), max(gains)
    room = 0.08 * max(high - low, 0.1)
    return low - room, high + room


def _legend(axis: object, subject: Subject) -> None:
    present = {trial.state for trial in subject.ranking}
    axis.plot([], [], color=BEST_COLOUR, lw=2.4, label="best")  # type: ignore[attr-defined]
    for state, colour in STATE_COLOURS.items():
        if state in present:
            marker = {"stopped": "x", "failed": "x", "running": "o"}.get(state, "")
            axis.plot(  # type: ignore[attr-defined]
                [], [], color=colour, marker=marker, ms=5, label=state
            )
    axis.legend(loc="lower right")  # type: ignore[attr-defined]
