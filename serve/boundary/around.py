"""The outermost layer: every request gets an id, one line in the log, one count, and an answer."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.boundary.log import HEADER, id_for, log_request, request_id
from serve.boundary.problem_answers import internal_problem
from serve.metrics import Metrics

CLIENT_GONE = 499  # never sent: there is nobody to send it to
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")

log = logging.getLogger(__name__)


class AroundRequests:
    """sends_id: whether the answer's X-Request-ID is ours to send; Ray's proxy adds its own."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, sends_id: bool) -> None:
        self.app, self.metrics, self.sends_id = app, metrics, sends_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        reset = request_id.set(id_for(Headers(scope=scope)))
        answer = _Answer(send, self._headers())
        start = time.perf_counter()
        self.metrics.change("amir_requests_in_progress", 1)
        try:
            await self._answered(scope, receive, answer)
        finally:
            self.metrics.change("amir_requests_in_progress", -1)
            self._record(scope, answer, start)
            request_id.reset(reset)

    def _headers(self) -> dict[str, str]:
        return _HEADERS | ({HEADER: request_id.get()} if self.sends_id else {})

    async def _answered(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self.app(scope, receive, answer)
        except ClientDisconnect:
            answer.status = CLIENT_GONE
        except Exception:
            log.exception("a mistake of ours")
            if answer.status:  # too late for a problem: end it so that the client sees it is cut
                raise _CutShortError from None
            await internal_problem()(scope, receive, answer)

    def _record(self, scope: Scope, answer: _Answer, start: float) -> None:
        route = getattr(scope.get("route"), "path", "")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = answer.status or CLIENT_GONE
        owner = scope.get("state", {}).get("owner", "")
        log_request(
            method=method, route=route, status=status, start=start, token=owner, **answer.fields
        )
        self.metrics.count("amir_requests", method=method, route=route, status=str(status))
        self.metrics.observe("amir_request_seconds", time.perf_counter() - start, route=route)
        if code := answer.fields.get("code"):
            self.metrics.count("amir_problems", code=code)


class _CutShortError(Exception):
    """An answer that began cannot be ended well."""


class _Answer:
    """Adds headers to an answer and remembers what it was."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send, self._headers = send, headers
        self.status = 0
        self.fields: dict[str, Any] = {}

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
            if code := headers.get("X-AMIR-Problem"):
                self.fields["code"] = code
        await self._send(message)
