"""One line of JSON for each request and whatever is logged on the way, with the request's id.

No address, no query, no header and no text of an exception is ever logged: any of them may name a
patient.
"""

from __future__ import annotations

import json
import logging
import re
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers

_ID = re.compile(r"[0-9a-fA-F-]{8,64}")  # as uuid writes them; no name fits
HEADER = "X-Request-ID"

request_id: ContextVar[str] = ContextVar("request_id", default="")
log = logging.getLogger(__name__)


def id_for(headers: Headers) -> str:
    """The client's own id of a request if it is hexadecimal, else a new one."""
    stated = headers.get(HEADER, "")
    return stated if _ID.fullmatch(stated) else uuid4().hex


class JsonLines(logging.Formatter):
    """Records as lines of JSON; `extra={"fields": {...}}` adds to them."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "request_id": request_id.get(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = type(record.exc_info[1]).__name__
            line["at"] = places(record.exc_info[1])
        return json.dumps(line, default=str)


@contextmanager
def logging_to(handler: logging.Handler) -> Iterator[None]:
    """Send what the service and the library log to a handler, as lines of JSON, for a while."""
    handler.setFormatter(JsonLines())
    loggers = [logging.getLogger(name) for name in ("serve", "amir")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def places(error: BaseException) -> list[str]:
    """Where an exception came through, innermost last, and not what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def log_request(*, method: str, route: str, status: int, start: float, **fields: object) -> None:
    """start: of `time.perf_counter`. route: the pattern, never the address that was asked for."""
    seconds = round(time.perf_counter() - start, 6)
    told = {"method": method, "route": route, "status": status, "seconds": seconds, **fields}
    log.info("request", extra={"fields": told})
