"""One request of the service, sent again until it is answered or refused.

Connection errors, timeouts, and the answers 429, 500, 502, 503 and 504 are worth another try.
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

RETRIED = frozenset({429, 500, 502, 503, 504})
LONGEST_WAIT_SECONDS = 60.0

T = TypeVar("T")
# How many of how many bytes are sent, or slices restored.
OnProgress = Callable[[int, int], None]


class ServiceError(Exception):
    """The service refused, or could not be reached within the tries.

    status: of HTTP, 0 without an answer. code: the service's stable code, such as "unreadable".
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Request:
    """file: what to send, opened anew for each try. on_sent: told of its bytes as they leave."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    on_sent: OnProgress | None = None


@dataclass(frozen=True)
class Sender:
    """url: of the service. ca_file: certificates to trust in place of the system's.

    tries: at most, of timeout_seconds each. sleep: waits between them.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    tries: int = 6
    timeout_seconds: float = 60.0
    ca_file: Path | None = None
    sleep: Callable[[float], None] = time.sleep

    def send(self, request: Request, read: Callable[[Any, int], T]) -> T:
        """What `read` makes of the answer and the number of the try.

        An answer that breaks off while it is read is asked for again. ServiceError otherwise.
        """
        for attempt in range(1, self.tries + 1):
            try:
                with self.opened(request) as answer:
                    return read(answer, attempt)
            except urllib.error.HTTPError as error:
                failure, wait = _refusal(error), _retry_after(error.headers)
                if error.code not in RETRIED:
                    raise failure from None
            except (OSError, http.client.HTTPException) as error:
                failure, wait = ServiceError(0, "unreachable", f"{self.url}: {error}"), 0.0
            if attempt < self.tries:
                self.pause(attempt, wait)
        raise failure

    def opened(self, request: Request) -> Any:
        """The answer of one try, to be read and closed; HTTPError for 300 and above."""
        address = f"{self.url.rstrip('/')}{request.path}"
        if request.query:
            address += f"?{urllib.parse.urlencode(request.query)}"
        headers = {"Accept": "*/*", **request.headers}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if request.file is None:
            return self._ask(urllib.request.Request(address, None, headers, method=request.method))
        with request.file.open("rb") as file:
            size = headers["Content-Length"] = str(request.file.stat().st_size)
            body = _Counted(file, int(size), request.on_sent)
            return self._ask(urllib.request.Request(address, body, headers, method=request.method))

    def pause(self, attempt: int, at_least: float = 0.0) -> None:
        """Wait before the next try: clients that failed together part."""
        self.sleep(max(at_least, backoff(attempt)))

    def _ask(self, request: urllib.request.Request) -> Any:
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if self.ca_file is not None:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            handlers.append(urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*handlers)
        return opener.open(request, timeout=self.timeout_seconds)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token goes to the host it was given for and to no other."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


@dataclass
class _Counted:
    """A file that tells how much of it was read."""

    file: BinaryIO
    size: int
    on_read: OnProgress | None
    done: int = 0

    def read(self, size: int = -1) -> bytes:
        block = self.file.read(size)
        self.done += len(block)
        if self.on_read is not None and block:
            self.on_read(self.done, self.size)
        return block


def copy(answer: Any, file: BinaryIO) -> None:
    """The answer's body to a file; IncompleteRead where it breaks off, which `read(n)` hides."""
    copied = 0
    while block := answer.read(2**20):
        file.write(block)
        copied += len(block)
    expected = answer.headers.get("Content-Length")
    if expected is not None and copied < int(expected):
        raise http.client.IncompleteRead(b"", int(expected) - copied)


def backoff(attempt: int) -> float:
    """0.5 s, three times as long each time up to 20 s, a quarter of it random.

    Six tries span half a minute: a service whose proxy died is back by then.
    """
    longest = min(20.0, 0.5 * 3.0 ** (attempt - 1))
    return longest * (0.75 + 0.25 * random.random())


def _refusal(error: urllib.error.HTTPError) -> ServiceError:
    """The problem-details document of an answer, or what there is of one."""
    try:
        problem = json.loads(error.read())
        code, message = str(problem["code"]), str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        code, message = "unknown", f"HTTP {error.code} {error.reason}"
    return ServiceError(error.code, code, message)


def _retry_after(headers: Message) -> float:
    text = headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT_SECONDS) if text.isdigit() else 0.0
