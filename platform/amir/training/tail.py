"""The lines of metrics.jsonl as they come, each once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def whole_lines(path: Path, offset: int) -> list[bytes]:
    """The lines from byte `offset` on, each with its end; one still being written is left out."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(offset)
        return [line for line in file.readlines() if line.endswith(b"\n")]


class Tail:
    """Reads on from where it stood, so that a long file is not read again for each new line.

    Resuming puts another file in its place, without the steps that are done again: `is_anew` then
    says of the last call that it began at the beginning.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.is_anew = path, False
        self._offset, self._file = 0, -1

    def news(self) -> list[dict[str, Any]]:
        """The lines since the last call."""
        file = self.path.stat().st_ino if self.path.is_file() else -1
        self.is_anew = file != self._file
        self._offset, self._file = 0 if self.is_anew else self._offset, file
        lines = whole_lines(self.path, self._offset)
        self._offset += sum(map(len, lines))
        return [json.loads(line) for line in lines]
