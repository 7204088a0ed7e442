"""Parallel coordinates: trials as lines through their settings and gains."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from amir.evaluation.charts import GRID, INK, PAPER, Chart, drawing, plain
from amir.sweeping.gain_colours import gain_colour
from amir.sweeping.record import Trial
from amir.sweeping.standing import rung_at
from amir.sweeping.subject import Subject, marks

Point = tuple[float, float]


def draw_parallel(subject: Subject) -> Chart:
    """Each trial a line through its settings and what it gained at the rungs it came to."""
    names, rungs = list(subject.settings.space), subject.rungs
    known = subject.ranking
    with drawing(max(6.0, 1.25 * (len(names) + len(rungs))), 4.2) as drawn:
        axis = drawn.figure.subplots()
        axis.axis("off")
        for number, name in enumerate(names):
            labels = marks(subject, subject.settings.space[name])
            _draw_axis(axis, number, "\n".join(name.rsplit(".", 1)), labels)
        for number, step in enumerate(rungs, start=len(names)):
            _draw_axis(axis, number, f"gain, dB\nstep {step}", _gain_marks(subject, step))
        for place, trial in reversed(list(enumerate(known))):
            _draw_line(axis, subject, trial, place / max(1, len(known) - 1), best=place == 0)
        axis.set(xlim=(-0.45, len(names) + len(rungs) - 0.85), ylim=(-0.06, 1.16))
    return Chart(
        "parallel",
        "One line for each trial, from its settings on the left to its gain at the rungs on the "
        "right; a line that ends early was stopped there. Colour: the place among all trials, "
        "orange the best, blue the worst; who came to a later rung stands before who did not. "
        "The thick line is the best.",
        f"{len(known)} trials over {len(names)} settings.",
        drawn.svg,
    )


def _draw_axis(axis: Any, x: float, name: str, labels: list[tuple[float, str]]) -> None:
    axis.plot([x, x], [0, 1], color=GRID, linewidth=1.2, zorder=1)
    axis.text(x, 1.05, plain(name), ha="center", va="bottom", fontsize=8.5, color=INK)
    behind = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
    for place, label in labels:
        axis.plot([x - 0.03, x], [place, place], color=GRID, linewidth=1, zorder=1)
        style = {"ha": "right", "va": "center", "fontsize": 7.5, "color": INK, "bbox": behind}
        axis.text(x - 0.06, place, plain(label), zorder=5, **style)


def _draw_line(axis: Any, subject: Subject, trial: Trial, worse: float, *, best: bool) -> None:
    """worse: 0 for the best trial, 1 for the last."""
    points = [*enumerate(subject.place(trial)), *_gain_points(subject, trial)]
    ended = trial.state == "finished"
    colour = gain_colour(1 - worse)
    axis.plot(
        *_smooth(points),
        color=colour,
        linewidth=3.0 if best else (1.5 if ended else 0.9),
        alpha=1.0 if best else (0.85 if ended else 0.55),
        zorder=4 if best else 2,
        solid_capstyle="round",
    )
    axis.plot(*points[-1], "o" if ended else "x", color=colour, markersize=4, zorder=4, alpha=0.9)


def _smooth(points: list[Point]) -> tuple[list[float], list[float]]:
    """The points with curves between them that meet each axis at a right angle."""
    xs, ys = [points[0][0]], [points[0][1]]
    t = np.linspace(0, 1, 13)[1:]
    for (x0, y0), (x1, y1) in pairwise(points):
        xs += (x0 + (x1 - x0) * t).tolist()
        ys += (y0 + (y1 - y0) * (3 * t**2 - 2 * t**3)).tolist()
    return xs, ys


def _gain_points(subject: Subject, trial: Trial) -> list[Point]:
    points = []
    for number, step in enumerate(subject.rungs, start=len(subject.settings.space)):
        rung = rung_at(trial, step)
        if rung is not None:
            low, high = _gain_range(subject, step)
            points.append((float(number), (rung.objective - low) / (high - low)))
    return points


def _gain_marks(subject: Subject, step: int) -> list[tuple[float, str]]:
    if not subject.reached(step):
        return []
    low, high = _gain_range(subject, step)
    return [(share, f"{low + share * (high - low):+.2f}") for share in (0, 0.25, 0.5, 0.75, 1)]


def _gain_range(subject: Subject, step: int) -> tuple[float, float]:
    gains = subject.gains(subject.reached(step), step)
    low, high = float(gains.min()), float(gains.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
