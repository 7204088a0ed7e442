"""The store of long jobs: what it keeps, for whom, for how long, and who may work on it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from amir.errors import InputError
from serve.jobs.lease import LeaseLostError
from serve.jobs.results import AboutResult, result_key
from serve.jobs.store import Bounds, Job, JobState, JobStore, KeyReusedError

Upload = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "store", Bounds(jobs=5, bytes=10_000, keep_seconds=3600))


@pytest.fixture
def upload(tmp_path: Path) -> Upload:
    def write(content: bytes = b"scan") -> Path:
        path = tmp_path / f"received-{time.monotonic_ns()}"
        path.write_bytes(content)
        return path

    return write


def a_job(owner: str = "ada", digest: str = "d1", **options: str) -> Job:
    return Job(owner=owner, filename="upload.nii", input_digest=digest, options=options)


def age(path: Path, seconds: float) -> None:
    os.utime(path, (past := time.time() - seconds, past))


def test_a_job_and_its_file_are_kept(store: JobStore, upload: Upload) -> None:
    job = store.create(a_job(modality="MRI"), upload(b"voxels"))
    assert store.find(job.id, "ada") == job
    assert store.upload(job).read_bytes() == b"voxels"
    state = store.state(job.id)
    assert state is not None
    assert (state.status, state.version) == ("queued", 1)


def test_what_is_kept_is_for_the_service_alone(store: JobStore, upload: Upload) -> None:
    store.create(a_job(), upload())
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_ids_cannot_be_guessed_and_lead_nowhere_else(store: JobStore, upload: Upload) -> None:
    ids = {store.create(a_job(), upload()).id for _ in range(3)}
    assert {len(job_id) for job_id in ids} == {32}
    assert len(ids) == 3
    assert store.find("../../etc/passwd", "ada") is None
    assert store.find("0" * 32, "ada") is None


def test_a_token_sees_only_its_own_jobs(store: JobStore, upload: Upload) -> None:
    job = store.create(a_job(owner="ada"), upload())
    assert store.find(job.id, "bob") is None


def test_the_same_key_and_request_is_the_same_job(store: JobStore, upload: Upload) -> None:
    first = store.create(a_job(), upload(), key="k")
    assert store.create(a_job(), upload(), key="k") == first
    assert [job.id for job in store.waiting()] == [first.id]


def test_a_key_belongs_to_its_owner(store: JobStore, upload: Upload) -> None:
    first = store.create(a_job(owner="ada"), upload(), key="k")
    assert store.create(a_job(owner="bob"), upload(), key="k").id != first.id


@pytest.mark.parametrize("other", [a_job(digest="d2"), a_job(modality="CT")])
def test_the_same_key_for_something_else_is_refused(
    store: JobStore, upload: Upload, other: Job
) -> None:
    store.create(a_job(), upload(), key="k")
    with pytest.raises(KeyReusedError):
        store.create(other, upload(), key="k")
    assert len(store.waiting()) == 1


def test_a_key_makes_a_new_job_once_the_old_one_is_gone(store: JobStore, upload: Upload) -> None:
    first = store.create(a_job(), upload(), key="k")
    store.delete(first)
    assert store.create(a_job(), upload(), key="k").id != first.id


def test_of_requests_with_one_key_at_the_same_time_one_makes_the_job(
    store: JobStore, upload: Upload
) -> None:
    files = [upload() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = list(pool.map(lambda file: store.create(a_job(), file, key="k"), files))
    assert len({job.id for job in jobs}) == 1
    assert len(store.waiting()) == 1


def test_a_full_store_refuses(store: JobStore, upload: Upload) -> None:
    with pytest.raises(InputError, match="delete finished jobs") as refused:
        store.create(a_job(), upload(b"x" * 10_001))
    assert refused.value.code == "overloaded"
    for _ in range(5):
        store.create(a_job(), upload())
    with pytest.raises(InputError, match="keeps 5 jobs"):
        store.create(a_job(), upload())


def test_one_owner_at_a_time_works_on_a_job(store: JobStore, upload: Upload) -> None:
    job = store.create(a_job(), upload())
    with ThreadPoolExecutor(8) as pool:
        leases = list(pool.map(lambda n: store.take(job, owner=str(n), seconds=60), range(8)))
    assert sum(lease is not None for lease in leases) == 1


def test_a_dead_owner_is_replaced_and_its_ghost_cannot_write(
    store: JobStore, upload: Upload
) -> None:
    job = store.create(a_job(), upload())
    dead = store.take(job, owner="dead", seconds=60)
    assert dead is not None
    age(dead.path, 61)
    living = store.take(job, owner="living", seconds=60)
    assert living is not None
    assert living.number == 2
    with pytest.raises(LeaseLostError):
        store.advance(dead, JobState(status="running"))
    with pytest.raises(LeaseLostError):
        dead.renew()
    store.advance(living, JobState(version=2, status="done"))
    assert store.waiting() == []


def test_an_owner_that_renews_is_not_replaced(store: JobStore, upload: Upload) -> None:
    job = store.create(a_job(), upload())
    lease = store.take(job, owner="slow", seconds=60)
    assert lease is not None
    age(lease.path, 59)
    lease.renew()
    age(lease.path, 30)
    assert store.take(job, owner="other", seconds=60) is None


def test_an_owner_that_gives_up_does_not_count_as_a_try(store: JobStore, upload: Upload) -> None:
    job = store.create(a_job(), upload())
    first = store.take(job, owner="leaving", seconds=60)
    assert first is not None
    first.release()
    second = store.take(job, owner="next", seconds=60)
    assert second is not None
    assert second.number == 1


def test_who_works_on_a_deleted_job_learns_it(store: JobStore, upload: Upload) -> None:
    job = store.create(a_job(), upload())
    lease = store.take(job, owner="me", seconds=60)
    assert lease is not None
    store.delete(job)
    with pytest.raises(LeaseLostError):
        lease.renew()
    assert store.take(job, owner="me", seconds=60) is None
    assert list((store.folder / "jobs").iterdir()) == []


def finished_job(store: JobStore, file: Path, key: str = "r1", updated: float = 0.0) -> Job:
    job = store.create(a_job(), file)
    lease = store.take(job, owner="me", seconds=60)
    assert lease is not None
    store.advance(lease, JobState(status="done", result=key, updated=updated or time.time()))
    return job


def content_of(store: JobStore, key: str = "r1") -> bytes:
    about = store.results.find(key)
    assert about is not None
    return store.results.content(key, about).read_bytes()


def keep_result(store: JobStore, file: Path, key: str = "r1") -> None:
    about = AboutResult(media_type="application/x-nifti", filename="restored.nii", report={"a": 1})
    store.results.keep(key, file, about)


def test_a_result_is_deleted_with_the_last_job_that_has_it(store: JobStore, upload: Upload) -> None:
    keep_result(store, upload(b"restored"))
    first, second = finished_job(store, upload()), finished_job(store, upload())
    store.delete(first)
    assert content_of(store) == b"restored"
    store.delete(second)
    assert store.results.find("r1") is None


def test_a_result_that_two_replicas_made_is_kept_once(store: JobStore, upload: Upload) -> None:
    keep_result(store, upload(b"first"))
    keep_result(store, upload(b"second"))
    assert content_of(store) == b"first"


def test_results_differ_by_input_model_and_parameters() -> None:
    keys = {
        result_key("input", "model", {"modality": "MRI"}),
        result_key("other", "model", {"modality": "MRI"}),
        result_key("input", "other", {"modality": "MRI"}),
        result_key("input", "model", {"modality": "CT"}),
    }
    assert len(keys) == 4


def test_what_is_over_time_is_swept(store: JobStore, upload: Upload) -> None:
    keep_result(store, upload())
    old = finished_job(store, upload(), updated=time.time() - 3601)
    fresh = store.create(a_job(), upload(), key="k")
    litter = store.folder / "jobs" / ".0f.partial"
    litter.mkdir()
    for path in (litter, store.folder / "results" / "r1"):
        age(path, 8000)
    store.sweep()
    assert (store.read(old.id), store.read(fresh.id)) == (None, fresh)
    assert store.results.find("r1") is None
    assert not litter.exists()
    assert store.create(a_job(), upload(), key="k") == fresh
