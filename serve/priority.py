"""Who goes first where CPUs are scarce: what restores, before what reads, refuses and answers."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NICENESS = 10


def go_behind() -> None:
    """Let this process, and all that it starts, have what CPU time the engine leaves.

    Else a flood of requests that are refused takes it from those that were let in.
    """
    threads = Path("/proc/self/task")  # each has a priority of its own; other systems keep theirs
    for thread in threads.iterdir() if threads.is_dir() else ():
        with suppress(OSError):  # it has ended meanwhile
            os.setpriority(os.PRIO_PROCESS, int(thread.name), NICENESS)
