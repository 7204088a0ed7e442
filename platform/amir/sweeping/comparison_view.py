"""A comparison of searches for people: one figure, one table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from amir.evaluation.charts import INK, SERIES_COLOURS, Chart, drawing
from amir.sweeping.comparison import PLAIN, Comparison
from amir.sweeping.replay import Values

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)  # of the steps of all settings in full
QUARTILES = (25, 75)


def draw_comparison(found: Comparison) -> Chart:
    """Median best objective against steps, with the quartiles of the replays."""
    with drawing(6.4, 3.8) as drawn:
        axis = drawn.figure.subplots()
        for (name, best), colour in zip(found.best.items(), SERIES_COLOURS, strict=False):
            low, high = np.percentile(best, QUARTILES, axis=0)
            axis.fill_between(
                found.marks, low, high, step="post", color=colour, alpha=0.14, linewidth=0
            )
            axis.step(
                found.marks, found.middle(name), where="post", color=colour, lw=1.6, label=name
            )
        axis.axhline(found.there_is, color=INK, linewidth=0.8, linestyle=":")
        bottom = min(np.percentile(best[:, len(found.marks) // 20], 10) for best in _all(found))
        axis.set(
            xlabel="optimizer steps spent by all trials",
            ylabel="best validation gain so far, dB",
            ylim=(bottom, found.there_is + 0.06 * (found.there_is - bottom)),
        )
        axis.secondary_xaxis(
            "top",
            functions=(lambda steps: 100 * steps / found.full, lambda p: p * found.full / 100),
        ).set_xlabel("% of training every setting in full")
        axis.legend(loc="lower right")
    replays = len(next(_all(found)))
    return Chart(
        "searches",
        f"Line: median of {replays} replays; band: middle half of them. Dotted: the best there is, "
        f"{found.there_is:+.2f} dB.",
        " ".join(
            f"{name}: {found.middle(name)[-1]:+.2f} dB after {found.marks[-1]} steps."
            for name in found.best
        ),
        drawn.svg,
    )


def comparison_table(found: Comparison) -> str:
    """Markdown: for each search the median at shares of the cost, and its lead over chance."""
    marks = _marks_shown(found)
    heads = [f"{share:.0%} = {found.marks[mark]} steps" for share, mark in marks]
    lines = [
        f"| best gain, dB | {' | '.join(heads)} | steps to within 0.05 dB of the best |",
        f"|---|{'---:|' * (len(heads) + 1)}",
    ]
    for name, best in found.best.items():
        cells = [_spread(best[:, mark]) for _, mark in marks]
        lines.append(f"| {name} | {' | '.join(cells)} | {_steps(found, name)} |")
    for name in found.best:
        if name != PLAIN:
            cells = [_lead(*found.lead(name, mark)) for _, mark in marks]
            lines.append(f"| {name} over {PLAIN} | {' | '.join(cells)} | |")
    return "\n".join(lines)


def _all(found: Comparison) -> Iterator[Values]:
    yield from found.best.values()


def _marks_shown(found: Comparison) -> list[tuple[float, int]]:
    """Shares, and the last mark within each."""
    steps = [share * found.full for share in SHARES]
    reached = zip(SHARES, np.searchsorted(found.marks, steps, "right") - 1, strict=True)
    last = found.marks[-1] / found.full
    return [(share, int(mark)) for share, mark in reached if mark >= 0 and share < last + 0.01]


def _spread(values: Values) -> str:
    low, middle, high = np.percentile(values, (QUARTILES[0], 50, QUARTILES[1]))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _steps(found: Comparison, name: str) -> str:
    steps = found.steps_to_the_best(name)
    middle = np.median(steps)
    missed = np.isinf(steps).mean()
    told = "not in half of the replays" if np.isinf(middle) else f"{middle:.0f}"
    return f"{told}; never in {missed:.0%}" if missed else told


def _lead(middle: float, lower: float, upper: float) -> str:
    verdict = "tie" if lower <= 0 <= upper else ("ahead" if lower > 0 else "behind")
    return f"{middle:+.2f} ({lower:+.2f} to {upper:+.2f}), {verdict}"
