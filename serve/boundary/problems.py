"""Every way a request can fail: one closed table, and its answer as RFC 9457 problem details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amir.errors import CODES, InputError

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """status: of HTTP. title: the same for every problem of the kind.

    retry_after: seconds after which the same request may succeed; None where it never will.
    """

    status: int
    title: str
    retry_after: int | None = None


# What only HTTP knows; the rest are the codes that jobs print too.
_OF_HTTP = {
    "unauthorized": Kind(401, "a valid bearer token is needed"),
    "not_found": Kind(404, "there is nothing at this address"),
    "method_not_allowed": Kind(405, "the address does not take this method"),
    "not_finished": Kind(409, "the job is not done yet", retry_after=1),
    "key_reused": Kind(422, "the idempotency key belongs to another request"),
    "slow_client": Kind(408, "the client sent or took nothing for too long"),
    "unsupported_media_type": Kind(415, "the service does not take bodies of this type"),
    "not_ready": Kind(503, "the service is starting or has no model", retry_after=5),
    "rate_limited": Kind(429, "too many requests with this token", retry_after=1),
    "overloaded": Kind(503, "the service is at its limit", retry_after=1),
    "internal": Kind(500, "the service made a mistake; it is recorded under the request id"),
}

_STATUSES = {
    "unreadable": 422,
    "wrong_modality": 422,
    "mixed_series": 422,
    "inconsistent": 422,
    "missing_slice": 422,
    "duplicate_position": 422,
    "missing_tag": 422,
    "unsupported": 422,
    "not_finite": 422,
    "empty": 422,
    "outlier": 422,
    "missing_file": 422,
    "too_large": 413,
    "invalid_setting": 422,
    "unknown_model": 404,
}
_RETRIED = ("registry_unavailable", "disk_full")

PROBLEMS: dict[str, Kind] = {
    **{code: Kind(status, CODES[code]) for code, status in _STATUSES.items()},
    **{code: Kind(503, CODES[code], retry_after=10) for code in _RETRIED},
    **_OF_HTTP,
}


class RequestError(InputError):
    """A refusal of HTTP's own; headers: those its answer carries besides."""

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code, message)
        self.headers = dict(headers or {})


def problem(code: str, detail: str, request_id: str) -> dict[str, Any]:
    """The body of an answer; a code that is not in the table is a mistake of ours."""
    kind = PROBLEMS[code]
    return {
        "type": f"/v1/problems/{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        # Where clients of the Open Inference Protocol look for it.
        "error": detail,
    }
