"""What a path may say after a #: which of the series, and of their volumes, in it is meant."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from amir.errors import InputError

# What stands between a path and the choice: scans.zip#3fa2b1c4d5e6,echo=80
SEPARATOR = "#"
_SHORTEST_LABEL = 6


@dataclass(frozen=True)
class Choice:
    """series: the label that a refusal lists, at least 6 characters of it, or the whole UID.

    variant: such as {"echo": "80"} in a series that holds each place several times.
    """

    series: str = ""
    variant: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Choice:
        """From "LABEL", "LABEL,echo=80" or "echo=80"."""
        parts = [part.strip() for part in text.split(",") if part.strip()]
        pairs = dict(part.split("=", 1) for part in parts if "=" in part)
        named = [part for part in parts if "=" not in part]
        if len(named) > 1:
            message = f"{SEPARATOR} names {len(named)} series; give one, then key=value pairs"
            raise InputError("invalid_setting", message)
        return cls(named[0] if named else "", pairs)

    def means(self, series_uid: str) -> bool:
        if series_uid == self.series:
            return True
        enough = len(self.series) >= _SHORTEST_LABEL
        return enough and series_label(series_uid).startswith(self.series.lower())


def split_choice(path: Path) -> tuple[Path, Choice]:
    """A path and what follows its last #, unless a file of the whole name exists."""
    text = str(path)
    if path.exists() or SEPARATOR not in text:
        return path, Choice()
    before, after = text.rsplit(SEPARATOR, 1)
    return Path(before), Choice.parse(after)


def series_label(series_uid: str) -> str:
    """What messages call a series: a UID can be traced to a patient, its hash cannot."""
    return hashlib.sha256(series_uid.encode()).hexdigest()[:12]
