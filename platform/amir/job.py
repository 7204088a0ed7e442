"""What every job does around its work: messages in place of tracebacks, exit codes with a meaning.

0 done; 1 failed while running; 2 wrong settings or input, nothing was written; 3 a gate said no;
130 interrupted, what was finished is kept.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence

from amir.durable import DISK_FULL
from amir.errors import GateError, InputError

SECONDS_BETWEEN_LINES = 2.0


def run_job(work: Callable[[Sequence[str]], None]) -> None:
    """Call work with the command line's arguments and leave with the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    sys.exit(exit_code(work, sys.argv[1:]))


def exit_code(work: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    """Run work; a mistake of the user's becomes one line with its code."""
    try:
        work(arguments)
    except KeyboardInterrupt:
        return _fail(130, "interrupted", "run the same command again to go on")
    except GateError as refusal:
        return _fail(3, "refused", str(refusal))
    except Exception as error:
        if _is_disk_full(error):
            return _fail(
                1,
                "disk_full",
                f"the disk is full ({error}); free some room or choose another folder, then run "
                "the same command again",
            )
        if isinstance(error, InputError):
            return _fail(2, error.code, str(error))
        traceback.print_exc()
        return _fail(1, "failed", f"{type(error).__name__}: {error}")
    return 0


def say(text: str) -> None:
    """A line for the person at the terminal, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Progress:
    """Says how many of how many are done, how fast, and how long it will take; not too often."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.start = self.said = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done
        if done < total and now - self.said < SECONDS_BETWEEN_LINES:
            return
        self.said = now
        say(f"{self.what}: {done} of {total}{self._pace(done, total, now - self.start)}")

    def _pace(self, done: int, total: int, seconds: float) -> str:
        """What was found done at the start took no time of this job's."""
        new = done - (self.first or 0)
        if new == 0 or seconds <= 0:
            return ""
        left = f", {(total - done) * seconds / new:.0f} s left" if done < total else ""
        return f" ({60 * new / seconds:.0f} per minute{left})"


def _fail(code: int, kind: str, message: str) -> int:
    sys.stderr.write(f"error [{kind}]: {message}\n")
    return code


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether the error, or one that it was raised for, says that a disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        if isinstance(error, InputError) and error.code == "disk_full":
            return True
        error = error.__cause__ or error.__context__
    return False
