"""Figs. I b, III a, III b: what the routing of the all-in-one AMIR does, as `interpret` draws."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from amir import durable
from amir.config import FigureName, InterpretSettings
from amir.evaluation.routing.interpret import interpret

CHARTS: dict[FigureName, str] = {
    "Ib": "interference",
    "IIIa": "instructions-tsne",
    "IIIb": "expert-use",
}
BAND = 18  # height of the title above a chart, in the chart's own units
SIZE = re.compile(r'<svg [^>]*?height="(?P<tall>[\d.]+)pt" viewBox="0 0 (?P<width>\S+) (?P=tall)"')


def draw_routing(
    titles: Mapping[FigureName, str], settings: InterpretSettings, out: Path
) -> Iterator[Path]:
    """figure_NAME.svg in the folder, for each name with its title; all else that `interpret`
    finds goes to settings.out.

    A figure that this dataset or network cannot have, such as the interference of a single task,
    is a line of text.
    """
    charts = {chart.name: chart for chart in interpret(settings).charts}
    for name, title in titles.items():
        if CHARTS[name] in charts:
            file = out / f"figure_{name}.svg"
            durable.write_text(file, titled(charts[CHARTS[name]].svg, title))
        else:
            file = out / f"figure_{name}.txt"
            durable.write_text(file, f"{title}: nothing to show with this dataset and network\n")
        yield file


def titled(svg: str, title: str) -> str:
    """A chart of Matplotlib's with a line of text above it."""
    found = SIZE.search(svg)
    if found is None:
        raise ValueError("the chart does not say its size as Matplotlib does")
    width, tall = found["width"], float(found["tall"])
    head = found[0].replace(f'height="{found["tall"]}pt"', f'height="{tall + BAND:g}pt"')
    head = head.replace(
        f'viewBox="0 0 {width} {found["tall"]}"', f'viewBox="0 {-BAND} {width} {tall + BAND:g}"'
    )
    text = f'<text x="4" y="-6" font-family="sans-serif" font-size="7">{escape(title)}</text>'
    return svg.replace(found[0], head, 1).replace("</svg>", f"{text}\n</svg>")
