"""What a benchmark prints, and what it reads off the machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """A row of the table. name: its key in the JSON line."""

    name: str
    what: str
    value: float
    unit: str


def table(lines: Sequence[Line]) -> str:
    head = f"| {cpu_name()}, {os.cpu_count()} cores | | |\n|---|---:|---|\n"
    return head + "\n".join(f"| {line.what} | {line.value:.4g} | {line.unit} |" for line in lines)


def cpu_name() -> str:
    names = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()


def shortest(call: Callable[[], object], quick: bool) -> float:
    """Seconds of the shortest of three calls."""
    seconds = []
    for _ in range(1 if quick else 3):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def processes() -> list[int]:
    """This process and all that descend from it: Ray's too."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with gone():
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
    found = [os.getpid()]
    for process in found:  # grows meanwhile
        found += [child for child, parent in parents.items() if parent == process]
    return found


def cpu_seconds() -> float:
    ticks = 0
    for process in processes():
        with gone():
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_megabytes() -> float:
    """Proportional set size: what processes share is counted once."""
    total = 0
    for process in processes():
        with gone():
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


@contextmanager
def gone() -> Iterator[None]:
    """Processes end while they are counted."""
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        return
