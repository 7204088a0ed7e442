"""What bounds a request before any of it is read: its size and its pace."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amir.config import LimitSettings
from serve.boundary.problems import RequestError


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
            async with asyncio.timeout(max(seconds, 0)):
                return await self._receive()
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
            async with asyncio.timeout(self._seconds):
                await self._send(message)
        except TimeoutError:
            raise ClientDisconnect from None  # as good as gone: there is nobody to tell
