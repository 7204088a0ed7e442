"""A client of the restoration service, in the standard library alone: send a file, get it restored.

Restoring the same file twice gives the same answer, so whatever was lost on the way is sent again:
connection errors, timeouts, and the answers 429, 500, 502, 503 and 504.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

RETRIED = frozenset({429, 500, 502, 503, 504})
CONTENT_TYPES = {
    ".dcm": "application/dicom",
    ".zip": "application/zip",
    ".nii": "application/x-nifti",
    ".nii.gz": "application/x-nifti",
    ".npy": "application/x-npy",
}


class ServiceError(Exception):
    """The service refused, or could not be reached within the tries.

    status: of HTTP, 0 without an answer. code: the service's stable code, such as "unreadable".
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


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


@dataclass(frozen=True)
class Client:
    """url: of the service, such as http://127.0.0.1:8000. token: its bearer token, if it wants one.

    timeout_seconds: for each try. sleep: waits between tries.
    """

    url: str
    token: str | None = None
    tries: int = 6
    timeout_seconds: float = 60.0
    sleep: Callable[[float], None] = time.sleep

    def restore(self, path: Path | str, **query: str) -> Answer:
        """The restored file of a .dcm, .zip of a series, .nii, .nii.gz or .npy file.

        query: further parameters of POST /v1/restore, such as modality="MRI".
        """
        path = Path(path)
        headers = {"Content-Type": content_type(path), "Accept": "*/*"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        address = f"{self.url.rstrip('/')}/v1/restore"
        if query:
            address += f"?{urllib.parse.urlencode(query)}"
        return self._post(urllib.request.Request(address, path.read_bytes(), headers))

    def _post(self, request: urllib.request.Request) -> Answer:
        for attempt in range(1, self.tries + 1):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:
                    return _answer(answer.read(), answer.headers, attempt)
            except urllib.error.HTTPError as error:
                failure, wait = _refusal(error), _retry_after(error.headers)
                if error.code not in RETRIED:
                    raise failure from None
            except (OSError, http.client.HTTPException) as error:
                failure, wait = ServiceError(0, "unreachable", f"{self.url}: {error}"), 0.0
            if attempt < self.tries:
                self.sleep(max(wait, _backoff(attempt)))
        raise failure


def content_type(path: Path) -> str:
    """The media type of a file the service takes, by its name."""
    for ending, kind in CONTENT_TYPES.items():
        if path.name.lower().endswith(ending):
            return kind
    raise ValueError(f"{path.name}: the service takes files named {', '.join(CONTENT_TYPES)}")


def _answer(content: bytes, headers: Message, tries: int) -> Answer:
    return Answer(
        content,
        headers.get("X-AMIR-Model", ""),
        int(headers.get("X-AMIR-Clipped", 0)),
        headers.get("X-Request-ID", ""),
        tries,
    )


def _refusal(error: urllib.error.HTTPError) -> ServiceError:
    """The problem-details document of an answer, or what there is of one."""
    body = error.read()
    try:
        problem = json.loads(body)
        code, message = str(problem["code"]), str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, TypeError):
        code, message = "unknown", f"HTTP {error.code} {error.reason}"
    return ServiceError(error.code, code, message)


def _retry_after(headers: Message) -> float:
    text = headers.get("Retry-After", "")
    return float(text) if text.isdigit() else 0.0


def _backoff(attempt: int) -> float:
    """0.25 s, doubled each time up to 8 s, half of it random: clients that failed together part."""
    longest = min(8.0, 0.25 * 2.0 ** (attempt - 1))
    return longest * (0.5 + 0.5 * random.random())
