"""What every job does around its work: messages instead of tracebacks, and exit codes that mean something.

0 done; 1 failed while running; 2 wrong settings or input, nothing was written; 130 interrupted, state
saved.
"""

from __future__ import annotations

import errno
import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence

from amir.errors import InputError


def run_job(work: Callable[[Sequence[str]], None]) -> None:
    """Call work with the command line's arguments and leave with the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    sys.exit(exit_code(work, sys.argv[1:]))


def exit_code(work: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    """Run work; a mistake of the user's becomes one line with its code."""
    try:
        work(arguments)
    except InputError as error:
        return _fail(2, error.code, str(error))
    except KeyboardInterrupt:
        return _fail(130, "interrupted", "run the same command again to go on")
    except Exception as error:
        if _is_disk_full(error):
            return _fail(
                1,
                "disk_full",
                f"the disk is full ({error}); free some room or choose another folder, then run the "
                "same command again",
            )
        traceback.print_exc()
        return _fail(1, "failed", f"{type(error).__name__}: {error}")
    return 0


def say(text: str) -> None:
    """A line for the person at the terminal, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Progress:
    """Says how many of a known number are done, how fast, and how long it will take; at most every two seconds."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.start = self.said = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, every: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done
        if done < every and now - self.said < 2:
            return
        self.said = now
        rate = (done - self.first) / max(now - self.start, 1e-9)
        left = f", {(every - done) / rate:.0f} s left" if rate and done < every else ""
        say(f"{self.what}: {done} of {every} ({60 * rate:.0f} per minute{left})")


def _fail(code: int, kind: str, message: str) -> int:
    sys.stderr.write(f"error [{kind}]: {message}\n")
    return code


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False
