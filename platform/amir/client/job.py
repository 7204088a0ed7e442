"""Long work at the service: how far it is, and what came of it."""

from __future__ import annotations

import http.client
import json
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amir.client.events import Event, events_of
from amir.client.saving import new_path
from amir.client.sending import RETRIED, OnProgress, Request, Sender, ServiceError, copy


@dataclass(frozen=True)
class JobStatus:
    """state: queued, running, done or failed. done, total: slices; total is 0 until it is known.

    error: the problem-details of a failed job, None otherwise.
    """

    id: str
    state: str
    done: int
    total: int
    error: dict[str, Any] | None

    @property
    def is_final(self) -> bool:
        return self.state in ("done", "failed")


@dataclass(frozen=True)
class Job:
    """A submitted job. It outlives this process: `Client.job(id)` finds it again."""

    sender: Sender
    id: str

    @property
    def path(self) -> str:
        return f"/v1/jobs/{self.id}"

    def status(self) -> JobStatus:
        return self.sender.send(Request("GET", self.path), status_of)

    def wait(self, on_progress: OnProgress | None = None) -> JobStatus:
        """The final status of a job that is done; ServiceError with the code of one that failed.

        on_progress: told how many of how many slices are done.
        """
        status = self._followed(on_progress)
        if status.error is not None:
            error = status.error
            raise ServiceError(int(error["status"]), str(error["code"]), str(error["detail"]))
        return status

    def result(self) -> bytes:
        """The restored file."""
        return self.sender.send(Request("GET", f"{self.path}/result"), _content)

    def save(self, path: Path | str) -> None:
        """Write the restored file, whole or not at all, holding no more than a part in memory."""
        with new_path(Path(path)) as beside:
            self.download(beside)

    def download(self, path: Path) -> None:
        """The restored file to a name that is replaced if it exists."""

        def read(answer: Any, _: int) -> None:
            with path.open("wb") as file:
                copy(answer, file)

        self.sender.send(Request("GET", f"{self.path}/result"), read)

    def report(self) -> dict[str, Any]:
        """What a careful reader wants to know: model, clipped voxels, outliers, timings."""
        return self.sender.send(Request("GET", f"{self.path}/report"), _json)

    def delete(self) -> None:
        """The job, its file and its result at the service."""
        self.sender.send(Request("DELETE", self.path), lambda answer, _: None)

    def _followed(self, on_progress: OnProgress | None) -> JobStatus:
        """The final status, from the job's events; a stream that breaks off is resumed.

        Where the events do not answer in the tries, the job itself is asked, which fails as any
        request does.
        """
        last, failures = "", 0
        while True:
            try:
                for event in self._events_after(last):
                    last, failures = event.id, 0
                    status = _status(json.loads(event.data))
                    if status.total and on_progress is not None:
                        on_progress(status.done, status.total)
                    if status.is_final:
                        return status
            except urllib.error.HTTPError as error:
                failures = failures if error.code in RETRIED else self.sender.tries
            except (OSError, http.client.HTTPException):
                pass
            failures += 1
            if failures >= self.sender.tries:
                failures = 0
                if (status := self.status()).is_final:
                    return status
            self.sender.pause(failures + 1)

    def _events_after(self, last: str) -> Iterator[Event]:
        headers = {"Last-Event-ID": last} if last else {}
        request = Request("GET", f"{self.path}/events", headers=headers)
        with self.sender.opened(request) as answer:
            yield from events_of(answer)


def status_of(answer: Any, _: int) -> JobStatus:
    return _status(json.loads(answer.read()))


def _status(document: dict[str, Any]) -> JobStatus:
    progress = document["progress"]
    return JobStatus(
        document["id"],
        document["state"],
        int(progress["done"]),
        int(progress["total"]),
        document.get("error"),
    )


def _content(answer: Any, _: int) -> bytes:
    return bytes(answer.read())


def _json(answer: Any, _: int) -> dict[str, Any]:
    return dict(json.loads(answer.read()))
