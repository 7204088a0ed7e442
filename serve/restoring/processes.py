"""Processes that decode and write untrusted files: with a deadline, a limit of memory, and leave to
die.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
from anyio import BrokenWorkerProcess, CapacityLimiter, to_process

from amir.config import LimitSettings
from amir.errors import InputError
from serve.restoring.scan_files import load_readers

P = ParamSpec("P")
R = TypeVar("R")


class FileProcesses:
    """A few processes, started when needed and used again; call it in a running event loop."""

    def __init__(self, limits: LimitSettings) -> None:
        self.limits = limits
        self._turns = CapacityLimiter(limits.decode_processes)
        self._processes = CapacityLimiter(limits.decode_processes)

    async def warm(self) -> None:
        """Start them all, with the libraries loaded."""
        async with anyio.create_task_group() as group:
            for _ in range(self.limits.decode_processes):
                group.start_soon(self.run, load_readers)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What a function answers; all that crosses is pickled.

        Cancelled, the process is killed. InputError("too_large") past the deadline or out of
        memory, "unreadable" if the process died.
        """
        seconds, memory = self.limits.decode_seconds, self.limits.decode_bytes
        work = partial(_within, memory, partial(function, *args, **kwargs))
        async with self._turns:
            try:
                with anyio.fail_after(seconds):
                    return await to_process.run_sync(
                        work, cancellable=True, limiter=self._processes
                    )
            except TimeoutError:
                message = f"the file takes more than {seconds:g} s to read or write; split it"
            except MemoryError:
                message = f"the file takes more than {memory} bytes of memory; split it"
            except BrokenWorkerProcess:
                raise InputError(
                    "unreadable", "the file ended the process that read it; export it again"
                ) from None
        raise InputError("too_large", message)


def _within(memory: int, work: Callable[[], R]) -> R:
    """The answer of work in a process that has so much address space."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [limit for limit in (memory, most) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), most))
    return work()
