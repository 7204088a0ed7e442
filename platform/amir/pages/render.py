"""Contents to a page, in the house style."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SHARED = Path(__file__).parent / "templates"


def render(template: Path, found: dict[str, Any]) -> str:
    """The page of these contents; whatever is text in them stays text.

    template: extends base.html.j2 and draws with macros.html.j2, both of this package.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # What Matplotlib drew is markup; it escapes the names in it.
    environment.filters["svg"] = lambda chart: Markup(chart.inline())
    style = (SHARED / "page.css").read_text(encoding="utf-8")
    return environment.get_template(template.name).render(style=Markup(style), **found)
