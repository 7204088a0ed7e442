"""Works on the jobs of a store: every replica runs one, and takes over from those that died."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from amir.config import JobSettings
from amir.errors import InputError
from serve.boundary.problems import PROBLEMS
from serve.jobs.lease import Lease, LeaseLostError
from serve.jobs.store import Job, JobFailure, JobState, JobStore

SECONDS_BETWEEN_REPORTS = 0.5
SECONDS_BETWEEN_SWEEPS = 60.0

OnProgress = Callable[[int, int], None]
# Restores a job's file, telling how many of how many slices are done; returns the result's key.
Restore = Callable[[Job, OnProgress], Awaitable[str]]

log = logging.getLogger(__name__)


@dataclass
class _Effort:
    """One job under work here: its lease, its state as last written, its progress since."""

    job: Job
    lease: Lease
    state: JobState
    slices: tuple[int, int] = (0, 0)

    def on_progress(self, done: int, total: int) -> None:
        self.slices = (done, total)


@dataclass
class JobRunner:
    """Takes waiting jobs, oldest first, a few at once; `start` it in a running event loop."""

    store: JobStore
    restore: Restore
    settings: JobSettings
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")

    def __post_init__(self) -> None:
        self._efforts: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._swept = 0.0

    def start(self) -> None:
        self._loop = asyncio.create_task(self._look_for_work())

    async def stop(self) -> None:
        """Leave what is unfinished to the other replicas, at once."""
        tasks = [task for task in (self._loop, *self._efforts.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """There is a new job."""
        self._woken.set()

    def forget(self, job_id: str) -> None:
        """Stop working on a job that was deleted; other replicas notice by themselves."""
        if task := self._efforts.get(job_id):
            task.cancel()

    async def _look_for_work(self) -> None:
        while True:
            try:
                await self._take_what_waits()
                await self._sweep()
            except Exception:
                log.exception("the job store could not be read; trying again")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self.settings.lease_seconds / 3)
            self._woken.clear()

    async def _take_what_waits(self) -> None:
        for job in await to_thread(self.store.waiting):
            if len(self._efforts) >= self.settings.at_once:
                return
            if job.id not in self._efforts:
                await self._take(job)

    async def _take(self, job: Job) -> None:
        seconds = self.settings.lease_seconds
        lease = await to_thread(self.store.take, job, owner=self.owner, seconds=seconds)
        state = await to_thread(self.store.state, job.id)
        if lease is None or state is None:
            return
        effort = _Effort(job, lease, state)
        task = asyncio.create_task(self._work(effort))
        self._efforts[job.id] = task
        task.add_done_callback(lambda _: self._finished(job.id))

    def _finished(self, job_id: str) -> None:
        del self._efforts[job_id]
        self.wake()

    async def _work(self, effort: _Effort) -> None:
        restoring = asyncio.create_task(self._outcome(effort))
        try:
            await self._tell(effort, until=restoring)
            await self._advance(effort, **await restoring)
        except asyncio.CancelledError:
            effort.lease.release()
            raise
        except LeaseLostError:
            log.info("job %s is another replica's now, or deleted", effort.job.id)
        except InputError as error:
            log.info("job %s waits: %s", effort.job.id, error.code)
            effort.lease.release()
            await asyncio.sleep(PROBLEMS[error.code].retry_after or 1)
        except Exception as error:  # the store's disk, and who knows what: the lease ends by itself
            log.error("job %s is left for later: %s", effort.job.id, type(error).__name__)
        finally:
            restoring.cancel()

    async def _outcome(self, effort: _Effort) -> dict[str, object]:
        """What a job's state becomes; InputError for what another try may mend.

        A job that has brought down every replica that tried is not tried again.
        """
        if effort.lease.number > self.settings.attempts:
            return _failure("internal", f"{self.settings.attempts} replicas died of this job")
        try:
            result = await self.restore(effort.job, effort.on_progress)
        except InputError as error:
            if _is_worth_another_try(error):
                raise
            if error.code in PROBLEMS:
                return _failure(error.code, str(error))
            log.error("job %s failed with %s", effort.job.id, error.code)
        except Exception as error:
            log.error("job %s failed: %s", effort.job.id, type(error).__name__)
        else:
            return {"status": "done", "result": result, **_counted(effort.slices)}
        return _failure("internal", "the service made a mistake while restoring this file")

    async def _tell(self, effort: _Effort, *, until: asyncio.Task[dict[str, object]]) -> None:
        """Renew the lease and write the progress until a task is done."""
        await self._advance(effort, status="running")
        pause, renewed = effort.lease.seconds / 5, time.monotonic()
        while not until.done():
            await asyncio.wait([until], timeout=min(SECONDS_BETWEEN_REPORTS, pause))
            if time.monotonic() - renewed > pause:
                await to_thread(effort.lease.renew)
                renewed = time.monotonic()
            if effort.slices != (effort.state.done, effort.state.total):
                await self._advance(effort, **_counted(effort.slices))

    async def _advance(self, effort: _Effort, **fields: object) -> None:
        state = effort.state.changed(**fields)
        await to_thread(self.store.advance, effort.lease, state)
        effort.state = state

    async def _sweep(self) -> None:
        if time.monotonic() - self._swept > SECONDS_BETWEEN_SWEEPS:
            self._swept = time.monotonic()
            await to_thread(self.store.sweep)


def _is_worth_another_try(error: InputError) -> bool:
    return error.code in PROBLEMS and PROBLEMS[error.code].retry_after is not None


def _counted(slices: tuple[int, int]) -> dict[str, int]:
    return {"done": slices[0], "total": slices[1]}


def _failure(code: str, detail: str) -> dict[str, object]:
    status = PROBLEMS[code].status
    return {"status": "failed", "problem": JobFailure(status=status, code=code, detail=detail)}
