"""The service as an object: send a file, get it restored.

Restoring the same file twice gives the same answer, so whatever was lost on the way is sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from amir.client.job import Job, status_of
from amir.client.media_types import content_type
from amir.client.saving import new_path
from amir.client.sending import OnProgress, Request, Sender


@dataclass(frozen=True)
class Answer:
    """content: the restored file. model_digest, clipped, request_id: from the answer's headers.

    tries: how many requests it took.
    """

    content: bytes
    model_digest: str
    clipped: int
    request_id: str
    tries: int

    def save(self, path: Path | str) -> None:
        """Write the file, whole or not at all; FileExistsError where there is one already."""
        with new_path(Path(path)) as beside:
            beside.write_bytes(self.content)


@dataclass(frozen=True)
class Client(Sender):
    """url: of the service, such as http://127.0.0.1:8000. token: its bearer token, if it wants one.

    ServiceError from every method: what the service refuses, or does not answer in the tries.
    """

    def restore(self, path: Path | str, **query: str) -> Answer:
        """The restored file of a .dcm, .zip of a series, .nii, .nii.gz or .npy file.

        query: further parameters of POST /v1/restore, such as modality="MRI".
        """
        return self.send(_upload("/v1/restore", Path(path), query), _answer)

    def submit(self, path: Path | str, *, on_sent: OnProgress | None = None, **query: str) -> Job:
        """The same as long work that outlives this connection; see `Job`.

        on_sent: told how many of how many bytes have left.
        """
        # The same key in every try: one that was received although its answer was lost is not
        # done twice.
        key = {"Idempotency-Key": uuid4().hex}
        request = _upload("/v1/jobs", Path(path), query, key, on_sent)
        status = self.send(request, status_of)
        return Job(self, status.id)

    def job(self, job_id: str) -> Job:
        """A job that was submitted before."""
        return Job(self, job_id)


def _upload(
    address: str,
    path: Path,
    query: dict[str, str],
    headers: dict[str, str] | None = None,
    on_sent: OnProgress | None = None,
) -> Request:
    headers = {"Content-Type": content_type(path), **(headers or {})}
    return Request("POST", address, query, headers, path, on_sent)


def _answer(answer: Any, tries: int) -> Answer:
    headers = answer.headers
    return Answer(
        answer.read(),
        headers.get("X-AMIR-Model", ""),
        int(headers.get("X-AMIR-Clipped", 0)),
        headers.get("X-Request-ID", ""),
        tries,
    )
