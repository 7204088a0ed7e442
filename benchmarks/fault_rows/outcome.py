"""What a row of the table of faults comes to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """figure: what was measured, in a line."""

    holds: bool
    figure: str
