"""Long jobs in a folder that all replicas share; whatever dies, what was accepted is still there.

```
FOLDER/jobs/ID/   job.json   what was asked, never changed     upload.*      the file to restore
                  state.json how far it is                     lease-0001    who works on it
FOLDER/keys/      which job an idempotency key already made
FOLDER/results/   finished restorations, see serve.jobs.results
```
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from amir import durable
from amir.errors import InputError
from serve.jobs.lease import Lease, LeaseLostError, take_lease
from serve.jobs.results import ResultStore

JOB, STATE, PARTIAL = "job.json", "state.json", ".partial"
SECONDS_OF_A_WRITE = 3600.0  # what is still partial after that belongs to nobody
_ID = re.compile(r"[0-9a-f]{32}")


class JobFailure(BaseModel):
    """Why a job failed: status, stable code and sentence, as POST /v1/restore would answer."""

    model_config = ConfigDict(frozen=True)

    status: int
    code: str
    detail: str


class Job(BaseModel):
    """What was asked. owner: the name of the token. created: seconds since 1970.

    filename: of the upload, ours by its kind and never the sender's. options: of the restoration.
    """

    model_config = ConfigDict(frozen=True)

    id: str = Field(default_factory=lambda: secrets.token_hex(16))
    owner: str
    created: float = Field(default_factory=time.time)
    filename: str
    input_digest: str
    options: dict[str, Any] = {}


class JobState(BaseModel):
    """How far a job is. version: grows with each change. result: key of the finished restoration.

    done, total: slices; total is 0 until the file was read.
    """

    model_config = ConfigDict(frozen=True)

    version: int = 1
    status: Literal["queued", "running", "done", "failed"] = "queued"
    done: int = 0
    total: int = 0
    updated: float = Field(default_factory=time.time)
    result: str = ""
    problem: JobFailure | None = None

    @property
    def is_final(self) -> bool:
        return self.status in ("done", "failed")

    def changed(self, **fields: Any) -> JobState:
        """The state after this one."""
        later = {"version": self.version + 1, "updated": time.time(), **fields}
        return self.model_copy(update=later)


class KeyReusedError(Exception):
    """An idempotency key came back with another file or other options."""


@dataclass(frozen=True)
class Bounds:
    """What a store holds at most. keep_seconds: after a job's last change."""

    jobs: int
    bytes: int
    keep_seconds: float


class JobStore:
    """Jobs by id. Whoever asks names the owner; another's job is as absent as one never made."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.folder, self.bounds = folder, bounds
        # A result is found before its job is finished, and must not be swept before it.
        keep_seconds = bounds.keep_seconds + SECONDS_OF_A_WRITE
        self.results = ResultStore(folder / "results", keep_seconds=keep_seconds)

    def create(self, job: Job, upload: Path, *, key: str | None = None) -> Job:
        """Keep a job and move its file in; it is on disk when this returns.

        key: of idempotency. The job it already made is returned in place of a second one;
        KeyReusedError if that was of another file or other options. InputError("overloaded") if the
        store is full.
        """
        if key is not None and (earlier := self._made_by(job, key)):
            return earlier
        self._check_room(upload.stat().st_size)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # scans are nobody else's
        with durable.new_folder(self.path(job.id)) as folder:
            shutil.move(upload, folder / job.filename)
            (folder / JOB).write_text(job.model_dump_json(), encoding="utf-8")
            (folder / STATE).write_text(JobState().model_dump_json(), encoding="utf-8")
        return job if key is None else self._claimed(job, key)

    def find(self, job_id: str, owner: str) -> Job | None:
        """The job, if there is one and it is the owner's."""
        job = self.read(job_id) if _ID.fullmatch(job_id) else None
        return job if job is not None and job.owner == owner else None

    def read(self, job_id: str) -> Job | None:
        with suppress(FileNotFoundError):
            return Job.model_validate_json((self.path(job_id) / JOB).read_bytes())
        return None

    def state(self, job_id: str) -> JobState | None:
        """How far a job is; None if it was deleted."""
        with suppress(FileNotFoundError):
            return JobState.model_validate_json((self.path(job_id) / STATE).read_bytes())
        return None

    def advance(self, lease: Lease, state: JobState) -> None:
        """Write a job's state, by whoever holds its lease; LeaseLostError otherwise."""
        lease.check()
        beside = lease.folder / f".{secrets.token_hex(8)}{PARTIAL}"
        try:
            beside.write_text(state.model_dump_json(), encoding="utf-8")
            durable.flush(beside)
            beside.replace(lease.folder / STATE)
        except FileNotFoundError:  # deleted between two lines; nothing of it may come back
            raise LeaseLostError from None

    def waiting(self) -> list[Job]:
        """Jobs that are not finished, oldest first, whether or not somebody works on them."""
        jobs = [self.read(job_id) for job_id in self._ids() if not self._is_finished(job_id)]
        return sorted((job for job in jobs if job is not None), key=lambda job: job.created)

    def take(self, job: Job, *, owner: str, seconds: float) -> Lease | None:
        """The right to work on a job, or None while another has it."""
        return take_lease(self.path(job.id), owner=owner, seconds=seconds)

    def delete(self, job: Job) -> None:
        """The job, its file, and its result unless another job has the same."""
        state = self.state(job.id)
        self._remove(self.path(job.id))
        if state and state.result and not self._is_result_of_another(state.result):
            self.results.delete(state.result)

    def sweep(self) -> None:
        """Delete jobs and results whose time is over, and what killed writers left behind."""
        oldest = time.time() - self.bounds.keep_seconds
        for job_id in self._ids():
            state = self.state(job_id)
            if state is not None and state.updated < oldest:
                self._remove(self.path(job_id))
        self.results.sweep()
        self._sweep_keys()
        self._sweep_partial()

    def path(self, job_id: str) -> Path:
        """A job's folder."""
        return self.folder / "jobs" / job_id

    def upload(self, job: Job) -> Path:
        return self.path(job.id) / job.filename

    def expires(self, state: JobState) -> float:
        """When a job is deleted if nothing happens to it, in seconds since 1970."""
        return state.updated + self.bounds.keep_seconds

    def _ids(self) -> Iterator[str]:
        for path in _listed(self.folder / "jobs"):
            if _ID.fullmatch(path.name):
                yield path.name

    def _is_finished(self, job_id: str) -> bool:
        state = self.state(job_id)
        return state is None or state.is_final

    def _is_result_of_another(self, result: str) -> bool:
        states = (self.state(job_id) for job_id in self._ids())
        return any(state is not None and state.result == result for state in states)

    def _remove(self, folder: Path) -> None:
        """By a rename first: who reads it sees the whole job or none."""
        aside = folder.with_name(f".{folder.name}{PARTIAL}")
        with suppress(FileNotFoundError):
            folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _check_room(self, more: int) -> None:
        count, held = len(list(self._ids())), _bytes_below(self.folder)
        if count >= self.bounds.jobs or held + more > self.bounds.bytes:
            message = (
                f"the service keeps {count} jobs in {held} bytes, of at most {self.bounds.jobs} "
                f"jobs and {self.bounds.bytes} bytes; delete finished jobs, or try again later"
            )
            raise InputError("overloaded", message)

    def _key_file(self, owner: str, key: str) -> Path:
        return self.folder / "keys" / hashlib.sha256(f"{owner}\0{key}".encode()).hexdigest()

    def _made_by(self, job: Job, key: str) -> Job | None:
        """The job that the key made before; None if it made none that is still there."""
        with suppress(FileNotFoundError):
            earlier = self.read(self._key_file(job.owner, key).read_text(encoding="utf-8"))
            if earlier is not None and _asked(earlier) != _asked(job):
                raise KeyReusedError
            return earlier
        return None

    def _claimed(self, job: Job, key: str) -> Job:
        """The job, now the key's, or that of a request with the same key that came between."""
        file = self._key_file(job.owner, key)
        beside = file.with_name(f".{job.id}{PARTIAL}")
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(job.id, encoding="utf-8")
        durable.flush(beside)
        try:
            os.link(beside, file)
        except FileExistsError:
            if earlier := self._made_by(job, key):
                self._remove(self.path(job.id))
                return earlier
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
        durable.flush(file.parent)
        return job

    def _sweep_keys(self) -> None:
        for file in _listed(self.folder / "keys"):
            with suppress(FileNotFoundError):
                if not self.path(file.read_text(encoding="utf-8")).exists():
                    file.unlink()

    def _sweep_partial(self) -> None:
        oldest = time.time() - SECONDS_OF_A_WRITE
        for part in ("jobs", "keys", "results"):
            for path in _listed(self.folder / part):
                with suppress(FileNotFoundError):
                    if PARTIAL in path.name and path.stat().st_mtime < oldest:
                        _erase(path)


def _asked(job: Job) -> tuple[str, dict[str, Any]]:
    return job.input_digest, job.options


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def _erase(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(parent) / name).stat().st_size
    return total
