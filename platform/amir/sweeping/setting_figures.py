"""The gain of trials against each of their settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from amir.config import Axis
from amir.evaluation.charts import INK, Chart, drawing, plain
from amir.evaluation.tables.statistics import holm
from amir.sweeping.gain_colours import BAD, GOOD
from amir.sweeping.influence import FEWEST_IN_GROUP, Group, Values, alike, groups
from amir.sweeping.subject import Subject, is_continuous, marks, value_at, written

NARROWEST = 0.05  # of the axis: what a group of one value is drawn with


def draw_settings(subject: Subject) -> Iterator[Chart]:
    """For each setting the gain at the first rung, of all trials, and at the end, of the rest."""
    first = subject.reached(subject.rungs[0])
    places, gains = subject.places(first), subject.gains(first, subject.rungs[0])
    names = list(subject.settings.space)
    kinds = [is_continuous(subject, axis) for axis in subject.settings.space.values()]
    chances = [
        alike(places[:, k], gains, continuous=kind) if first else None
        for k, kind in enumerate(kinds)
    ]
    known = [p for p in chances if p is not None]
    corrected = iter(holm(known) if known else [])
    for column, name in enumerate(names):
        p = None if chances[column] is None else next(corrected)
        yield _draw_setting(subject, column, name, p)


def _draw_setting(subject: Subject, column: int, name: str, p: float | None) -> Chart:
    shown = {subject.rungs[0]: BAD, subject.rungs[-1]: GOOD}
    axis_settings = subject.settings.space[name]
    kind = is_continuous(subject, axis_settings)
    told = []
    with drawing(3.5, 1.75 * len(shown) + 0.35) as drawn:
        axes = np.atleast_1d(drawn.figure.subplots(len(shown), sharex=True))
        for axis, (step, colour) in zip(axes, shown.items(), strict=True):
            trials = subject.reached(step)
            gains = subject.gains(trials, step)
            places = subject.places(trials)[:, column] if trials else np.zeros(0)
            found = groups(places, gains, continuous=kind) if trials else []
            if trials:
                _draw_trials(axis, places, gains, colour, _focus(gains, found))
            for group in found:
                _draw_group(axis, group)
            axis.set_title(f"step {step}: {_trials(len(trials))}", loc="left", fontsize=8.5)
            axis.set_ylabel("gain, dB")
            told += [_best_told(subject, axis_settings, step, found)]
        places_of, labels = zip(*marks(subject, axis_settings), strict=True)
        axes[-1].set_xticks(places_of, [plain(label) for label in labels])
        axes[-1].set_xlim(-0.06, 1.06)
        axes[-1].set_xlabel(plain(name))
    if p is not None:
        apart = "differ" if p < 0.05 else "cannot be told apart"
        told.insert(1, f"Its groups {apart} ({_chance(p)})." if told[0] else "")
    return Chart(f"setting-{column}", "", " ".join(filter(None, told)), drawn.svg)


def _draw_trials(
    axis: Any, places: Values, gains: Values, colour: str, limits: tuple[float, float]
) -> None:
    """Dots; a triangle at the edge for one far below the others, which would hide them."""
    low, high = limits
    inside = gains >= low
    dots = {"color": colour, "alpha": 0.6, "mew": 0}
    axis.plot(places[inside], gains[inside], "o", markersize=3.8, **dots)
    below = places[~inside]
    axis.plot(below, np.full(len(below), low + 0.03 * (high - low)), "v", markersize=5, **dots)
    axis.set_ylim(low, high)


def _draw_group(axis: Any, group: Group) -> None:
    margin = max(0.0, NARROWEST - (group.upper - group.lower)) / 2
    low, high = group.lower - margin, group.upper + margin
    axis.hlines(group.mean, low, high, color=INK, linewidth=1.6, zorder=3)
    if group.half is not None:
        band = (group.mean - group.half, group.mean + group.half)
        axis.fill_between([low, high], *band, color=INK, alpha=0.13, linewidth=0, zorder=1)


def _best_told(subject: Subject, axis: Axis, step: int, found: list[Group]) -> str:
    """The group that gains most, of those large enough to say so."""
    large = [group for group in found if group.count >= FEWEST_IN_GROUP]
    if len(large) < 2:
        return ""
    best = max(large, key=lambda group: group.mean)
    ends = [written(value_at(subject, axis, place)) for place in (best.lower, best.upper)]
    where = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    gain = f"{best.mean:+.2f} ± {best.half:.2f} dB"
    return f"Step {step}: most at {where}, {gain} ({_trials(best.count)})."


def _focus(gains: Values, found: list[Group]) -> tuple[float, float]:
    """Limits with room around the gains and the means of groups; a gain far below the others is
    left out, but not a mean that it draws down.
    """
    lower, upper = np.percentile(gains, (25, 75))
    near = gains[gains >= lower - 3 * max(upper - lower, 0.02)]
    shown = np.array([*near, *(group.mean for group in found if group.half is not None)])
    room = 0.1 * max(float(np.ptp(shown)), 0.1)
    return float(shown.min()) - room, float(shown.max()) + room


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _trials(count: int) -> str:
    return f"{count} trial{'' if count == 1 else 's'}"
