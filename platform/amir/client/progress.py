"""A progress bar on a terminal; lines, not too often, where the output goes to a file."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from typing import TextIO

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_DRAWINGS = 0.1
WIDTH = 30


@dataclass
class ProgressBar:
    """What is done of one thing. name: what is worked on. output: such as sys.stderr."""

    name: str
    output: TextIO
    _stage: str = ""
    _start: float = field(default_factory=time.monotonic)
    _drawn: float = float("-inf")

    def sending(self, done: int, total: int) -> None:
        """Bytes that have left."""
        self._show("sending", done, total, f"{done / 1e6:.1f} of {total / 1e6:.1f} MB")

    def restoring(self, done: int, total: int) -> None:
        """Slices that are restored."""
        self._show("restoring", done, total, f"{done} of {total} slices")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write(f"{self.name}: {text}", stays=True)

    def _show(self, stage: str, done: int, total: int, amount: str) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._start = stage, now
        pause = SECONDS_BETWEEN_DRAWINGS if self.output.isatty() else SECONDS_BETWEEN_LINES
        if now - self._drawn < pause and done < total:
            return
        self._drawn = now
        left = _left(done, total, now - self._start)
        if self.output.isatty():
            self._write(f"{self.name}  {stage:9} {_bar(done, total)} {amount}{left}", stays=False)
        else:
            self._write(f"{self.name}: {stage} {amount}{left}", stays=True)

    def _write(self, line: str, *, stays: bool) -> None:
        if self.output.isatty():
            width = shutil.get_terminal_size().columns - 1
            self.output.write(f"\r\x1b[K{line[:width]}")
        else:
            self.output.write(line)
        self.output.write("\n" if stays else "")
        self.output.flush()


def _bar(done: int, total: int) -> str:
    filled = WIDTH * done // max(1, total)
    return "█" * filled + "░" * (WIDTH - filled)


def _left(done: int, total: int, seconds: float) -> str:
    if not 0 < done < total or seconds < 1:
        return ""
    return f", {(total - done) * seconds / done:.0f} s left"
