"""Replicas that work on the jobs of one store: what they finish, refuse, hand over, and survive."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from amir.config import JobSettings
from amir.errors import InputError
from serve.jobs.runner import JobRunner, OnProgress, Restore
from serve.jobs.store import Bounds, Job, JobState, JobStore

SETTINGS = JobSettings(lease_seconds=1.0, at_once=2, attempts=2)


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "store", Bounds(jobs=50, bytes=10**6, keep_seconds=3600))


@pytest.fixture
def job(store: JobStore, tmp_path: Path) -> Job:
    return submit(store, tmp_path)


def submit(store: JobStore, folder: Path) -> Job:
    upload = folder / "received"
    upload.write_bytes(b"scan")
    return store.create(Job(owner="ada", filename="upload.nii", input_digest="d"), upload)


def state_of(store: JobStore, job: Job) -> JobState:
    state = store.state(job.id)
    assert state is not None
    return state


async def run_until(runner: JobRunner, done: Callable[[], bool], seconds: float = 10) -> None:
    runner.start()
    try:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    finally:
        await runner.stop()


def finish(store: JobStore, job: Job, restore: Restore) -> JobState:
    runner = JobRunner(store, restore, SETTINGS)
    asyncio.run(run_until(runner, lambda: state_of(store, job).is_final))
    return state_of(store, job)


async def restore_three_slices(job: Job, on_progress: OnProgress) -> str:
    on_progress(3, 3)
    return "the-result"


def failing(error: Exception) -> Restore:
    async def restore(job: Job, on_progress: OnProgress) -> str:
        raise error

    return restore


def test_a_waiting_job_is_finished(store: JobStore, job: Job) -> None:
    state = finish(store, job, restore_three_slices)
    assert (state.status, state.result, state.done, state.total) == ("done", "the-result", 3, 3)


def test_a_refused_file_fails_with_the_code_and_sentence(store: JobStore, job: Job) -> None:
    state = finish(store, job, failing(InputError("mixed_series", "two series; send one")))
    assert state.problem is not None
    assert state.problem.model_dump() == {
        "status": 422,
        "code": "mixed_series",
        "detail": "two series; send one",
    }


def test_a_mistake_of_ours_tells_nothing_of_the_file(
    store: JobStore, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    state = finish(store, job, failing(RuntimeError("SURNAME^GIVEN")))
    assert state.problem is not None
    assert state.problem.code == "internal"
    assert "SURNAME" not in state.model_dump_json() + caplog.text


def test_a_refusal_that_requests_cannot_cause_is_a_mistake_of_ours(
    store: JobStore, job: Job
) -> None:
    state = finish(store, job, failing(InputError("invalid_checkpoint", "weights are damaged")))
    assert state.problem is not None
    assert state.problem.code == "internal"


def test_a_job_waits_while_the_engine_is_overloaded(store: JobStore, job: Job) -> None:
    answers: list[Awaitable[str]] = []

    async def restore(job: Job, on_progress: OnProgress) -> str:
        answers.append(restore_three_slices(job, on_progress))
        if len(answers) == 1:
            await answers[0]
            raise InputError("overloaded", "later")
        return await answers[-1]

    assert finish(store, job, restore).status == "done"
    assert len(answers) == 2


def test_progress_is_written_while_it_lasts(store: JobStore, job: Job) -> None:
    seen: list[tuple[str, int, int]] = []

    async def restore(job: Job, on_progress: OnProgress) -> str:
        on_progress(1, 4)
        while not any(done == 1 for _, done, _ in seen):
            state = state_of(store, job)
            seen.append((state.status, state.done, state.total))
            await asyncio.sleep(0.02)
        return "r"

    finish(store, job, restore)
    assert ("running", 1, 4) in seen


def test_a_deleted_job_is_not_worked_on_any_further(store: JobStore, job: Job) -> None:
    stopped: list[bool] = []

    async def restore(job: Job, on_progress: OnProgress) -> str:
        store.delete(job)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.append(True)
            raise
        return "r"

    asyncio.run(run_until(JobRunner(store, restore, SETTINGS), lambda: bool(stopped)))
    assert store.state(job.id) is None


def test_a_replica_that_stops_hands_its_job_over_at_once(store: JobStore, job: Job) -> None:
    async def restore(job: Job, on_progress: OnProgress) -> str:
        await asyncio.sleep(30)
        return "r"

    patient = JobRunner(store, restore, SETTINGS.model_copy(update={"lease_seconds": 600}))
    asyncio.run(run_until(patient, lambda: state_of(store, job).status == "running"))
    assert finish(store, job, restore_three_slices).status == "done"


def test_two_replicas_share_the_work_and_do_nothing_twice(store: JobStore, tmp_path: Path) -> None:
    jobs = [submit(store, tmp_path) for _ in range(12)]
    worked: list[str] = []

    async def restore(job: Job, on_progress: OnProgress) -> str:
        worked.append(job.id)
        await asyncio.sleep(0.05)
        return "r"

    async def both() -> None:
        runners = [JobRunner(store, restore, SETTINGS, owner=name) for name in "ab"]
        runners[0].start()
        try:
            await run_until(runners[1], lambda: store.waiting() == [])
        finally:
            await runners[0].stop()

    asyncio.run(both())
    assert sorted(worked) == sorted(job.id for job in jobs)


REPLICA = """
import asyncio, sys
from pathlib import Path
from amir.config import JobSettings
from serve.jobs.runner import JobRunner
from serve.jobs.store import Bounds, JobStore

async def restore(job, on_progress):
    on_progress(1, 100)
    print("working", flush=True)
    await asyncio.sleep(60)

async def main():
    store = JobStore(Path(sys.argv[1]), Bounds(jobs=50, bytes=10**6, keep_seconds=3600))
    JobRunner(store, restore, JobSettings(lease_seconds=1.0)).start()
    await asyncio.sleep(60)

asyncio.run(main())
"""


def kill_a_replica_at_work(store: JobStore) -> None:
    command = [sys.executable, "-c", REPLICA, str(store.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as replica:
        try:
            assert replica.stdout is not None
            assert replica.stdout.readline() == "working\n"
        finally:
            replica.send_signal(signal.SIGKILL)


def test_the_job_of_a_killed_replica_is_finished_by_another(store: JobStore, job: Job) -> None:
    kill_a_replica_at_work(store)
    assert state_of(store, job).status in ("queued", "running")
    assert finish(store, job, restore_three_slices).status == "done"


def test_a_job_that_kills_every_replica_fails(store: JobStore, job: Job) -> None:
    for _ in range(2):
        lease = None
        while lease is None:  # the lease of the one that died runs out
            lease = store.take(job, owner="dying", seconds=0.05)
    state = finish(store, job, restore_three_slices)
    assert state.problem is not None
    assert "2 replicas died" in state.problem.detail
