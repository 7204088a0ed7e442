"""Memory that a process has freed: kept for what is soon asked for again, or given back.

glibc gives every large block back to the system at once and fetches it anew, page by page and
zeroed, for the next layer: on a CPU that costs a network about as much time as its arithmetic.
Once it has freed a few it keeps such blocks, one for each thread that ever had one, which costs a
process that hands large blocks from thread to thread several times what it holds.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

# Of mallopt(3), where -1 stands for "no limit".
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8
GROWTH = 64 * 2**20

ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**62),
    "MALLOC_TOP_PAD_": str(GROWTH),
}
"""The same for a process yet to start: of one that runs, only the main thread can be told."""

LARGE = 4 * 2**20
GIVING_BACK_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(LARGE),
    "MALLOC_TRIM_THRESHOLD_": str(LARGE),
}
"""The opposite, for a process yet to start: what is large and freed is not its own any more."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to the most that it ever needed; False if it cannot.

    For what the main thread allocates, before other threads have. Without glibc nothing happens.
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wishes = ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, GROWTH))
    return [tell(which, value) for which, value in wishes] == [1] * len(wishes)


def give_back_freed_memory() -> None:
    """Let the system have what this process keeps of what it freed: of one network after another
    it would keep more with each. Without glibc nothing happens.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
