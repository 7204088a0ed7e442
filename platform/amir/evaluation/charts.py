"""A plot as SVG: by itself in fixed colours, or inside a page whose theme colours it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amir import durable
from amir.modality import Modality

# Okabe and Ito's colours, which people with colour-blindness tell apart; on white and on black.
TASK_COLOURS = {Modality.MRI: "#0072B2", Modality.CT: "#D55E00", Modality.PET: "#009E73"}
SERIES_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A8A00")
# No other thing in a plot has these: a page replaces them.
INK, GRID, PAPER = "#1c2126", "#c9ced3", "#fefdfe"
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, readable to a screen reader
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "image.interpolation": "none",
    **dict.fromkeys(
        [
            "text.color",
            "axes.labelcolor",
            "axes.titlecolor",
            "xtick.labelcolor",
            "ytick.labelcolor",
        ],
        INK,
    ),
    "xtick.color": GRID,
    "ytick.color": GRID,
}


@dataclass(frozen=True)
class Chart:
    """name: of its file. caption: what it shows and how to read it. text: what it shows, in words,
    for who cannot see it.
    """

    name: str
    caption: str
    text: str
    svg: str

    def inline(self) -> str:
        """The SVG element to stand in a page: its theme's colours, and ids of its own."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
        used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
        svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
        svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{self.name}-", svg)
        svg = svg.replace("xlink:href", "href")
        for colour, name in ((INK, "ink"), (GRID, "line"), (PAPER, "paper")):
            svg = svg.replace(colour, f"var(--{name})")
        return svg.replace("<svg ", f'<svg role="img" aria-labelledby="{self.name}-text" ', 1)

    def save(self, folder: Path) -> Path:
        """NAME.svg in the folder, on white."""
        path = folder / f"{self.name}.svg"
        durable.write_text(path, self.svg)
        return path


def plain(text: str) -> str:
    """Text that Matplotlib prints as it is: a dollar would begin a formula."""
    return text.replace("$", r"\$")


class Drawing:
    """A figure being drawn; `svg` holds what became of it once the block has ended."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure
        self.svg = ""


@contextmanager
def drawing(width: float, height: float) -> Iterator[Drawing]:
    """A Matplotlib figure of this size in inches, in the house style, that becomes an SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "amir"}):
        drawn = Drawing(Figure(figsize=(width, height), layout="constrained"))
        yield drawn
        text = io.StringIO()
        drawn.figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        drawn.svg = text.getvalue()
