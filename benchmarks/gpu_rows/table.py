"""Rows of figures, printed as they are found and all together at the end."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]


def tried(rows: list[Row], known: Row, measure: Callable[[], Row]) -> None:
    """Add a row; one that fails says why, and the others go on: a lent card is asked once."""
    try:
        row = known | measure()
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        row = known | {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"}
    rows.append(row)
    print("  " + ", ".join(f"{key} {shown(value)}" for key, value in row.items()), flush=True)


def printed(title: str, rows: Sequence[Row]) -> str:
    """A Markdown table with every key that any row has."""
    if not rows:
        return ""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"\n{title}\n", _line(keys), _line(["---"] * len(keys))]
    return "\n".join(lines + [_line([shown(row.get(key, "")) for key in keys]) for row in rows])


def shown(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
