"""How much each setting matters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from amir.evaluation.charts import INK, Chart, drawing, plain
from amir.sweeping.gain_colours import gain_colour
from amir.sweeping.influence import Importance, importance
from amir.sweeping.subject import Subject, short


def draw_importance(subject: Subject) -> Chart | None:
    """Importance at each rung that trials enough have reached; None if there is no such."""
    found = list(_importances(subject))
    if not found:
        return None
    names = [*map(short, subject.settings.space), "(noise)"]
    with drawing(6.2, 0.9 + (0.14 + 0.2 * len(found)) * len(names)) as drawn:
        axis = drawn.figure.subplots()
        height = 0.8 / len(found)
        for number, (step, count, it) in enumerate(found):
            place = np.arange(len(names)) + (number - (len(found) - 1) / 2) * height
            colour = gain_colour(number / max(1, len(found) - 1))
            label = f"step {step}, {count} trials: {_explained(it)} explained"
            axis.barh(place, it.middle(), height * 0.86, color=colour, label=label, alpha=0.85)
            axis.hlines(place, *it.interval(), color=INK, linewidth=0.9)
        axis.axvline(0, color=INK, linewidth=0.8)
        axis.set_yticks(range(len(names)), [plain(name) for name in names])
        axis.invert_yaxis()
        axis.set(xlabel="share of the variance of the gain")
        axis.grid(visible=False, axis="y")
        drawn.figure.legend(loc="outside upper center")
    return Chart(
        "importance",
        "Bars: the share of the variance of the gain that a setting has a part in. Lines: where "
        "90 % of the forests lie.",
        " ".join(_told(step, names, it) for step, _, it in found),
        drawn.svg,
    )


def _importances(subject: Subject) -> Iterator[tuple[int, int, Importance]]:
    for step in subject.rungs:
        trials = subject.reached(step)
        found = importance(subject.places(trials), subject.gains(trials, step)) if trials else None
        if found is not None:
            yield step, len(trials), found


def _told(step: int, names: list[str], it: Importance) -> str:
    """What stands out from the noise; the lower end of its spread above the noise's upper end."""
    (low, high), middle = it.interval(), it.middle()
    out = [k for k in np.argsort(-middle[:-1]) if low[k] > max(0.0, high[-1])]
    if np.median(it.explained) <= 0 or not out:
        return f"Step {step}: nothing stands out from chance."
    told = ", ".join(f"{names[k]} ({middle[k]:.0%})" for k in out)
    return f"Step {step}: {told} stand{'s' if len(out) == 1 else ''} out."


def _explained(it: Importance) -> str:
    return f"{100 * np.median(it.explained):.0f} %"
