"""What bounds a request before any of it is read: its size, its pace, how many there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amir.config import LimitSettings
from amir.errors import InputError
from amir.inference.engine.slices import OverloadedError
from serve.boundary.problems import RequestError

CLOSED_SECONDS = 1.0


class Places:
    """So many requests at once; one more is refused and not kept waiting.

    Where the engine has just refused one, the next are refused here for a moment: reading their
    files would take the CPU from those that were let in.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._closed_until = 0.0
        self.taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        pause = self._closed_until - self._clock()
        if pause > 0:
            raise OverloadedError("more waits than can be restored in time; try again", pause)
        if self.taken >= self._most:
            raise InputError(
                "overloaded", f"{self._most} requests are under way here already; try again"
            )
        self.taken += 1
        try:
            yield
        except OverloadedError as refusal:
            self._closed_until = self._clock() + min(refusal.retry_after_seconds, CLOSED_SECONDS)
            raise
        finally:
            self.taken -= 1


class BodyBounds:
    """Ends requests whose body is too long, and those whose client falls asleep over them."""

    def __init__(self, app: ASGIApp, limits: LimitSettings) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _BoundedBody(receive, self.limits, Headers(scope=scope))
        await self.app(scope, body.receive, _PatientSend(send, self.limits.idle_seconds))


class _BoundedBody:
    def __init__(self, receive: Receive, limits: LimitSettings, headers: Headers) -> None:
        self._receive, self._limits = receive, limits
        self._stated = headers.get("content-length", "")
        self._read = 0
        self._is_complete = False
        self._deadline = time.monotonic() + limits.upload_seconds

    async def receive(self) -> Message:
        if self._is_complete:  # all that can come is that the client goes away
            return await self._receive()
        if self._stated.isdigit():
            self._check(int(self._stated))
        message = await self._next()
        self._read += len(message.get("body", b""))
        self._check(self._read)
        self._is_complete = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        seconds = min(self._limits.idle_seconds, self._deadline - time.monotonic())
        try:
            return await asyncio.wait_for(self._receive(), max(seconds, 0))
        except TimeoutError:
            raise RequestError(
                "slow_client",
                f"the body did not come within {self._limits.upload_seconds:g} s, with pauses of "
                f"at most {self._limits.idle_seconds:g} s; send it again",
                {"Connection": "close"},
            ) from None

    def _check(self, size: int) -> None:
        if size > self._limits.upload_bytes:
            raise RequestError(
                "too_large",
                f"the body has {size} bytes or more, the limit is {self._limits.upload_bytes}; "
                "split it",
                {"Connection": "close"},
            )


class _PatientSend:
    """Waits only so long for a client to take what it is sent."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send, self._seconds = send, seconds

    async def __call__(self, message: Message) -> None:
        try:
            await asyncio.wait_for(self._send(message), self._seconds)
        except TimeoutError:
            raise ClientDisconnect from None  # as good as gone: there is nobody to tell
