"""Whatever goes wrong in the application, answered as problem details; nothing else gets out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from amir.errors import InputError
from serve.boundary.log import request_id
from serve.boundary.problems import MEDIA_TYPE, PROBLEMS, RequestError, problem

log = logging.getLogger(__name__)

_CODES_OF_FRAMEWORK = {404: "not_found", 405: "method_not_allowed", 400: "unreadable"}


def answer_problems(app: FastAPI) -> None:
    """Register an answer for each kind of exception."""
    app.add_exception_handler(InputError, _refusal)
    app.add_exception_handler(RequestValidationError, _wrong_parameters)
    app.add_exception_handler(HTTPException, _of_framework)


def problem_answer(code: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer for a code; one that is not in the table is a mistake of ours."""
    if code not in PROBLEMS:
        log.error("a code that is not in the table: %s", code)
        return internal_problem()
    kind = PROBLEMS[code]
    waiting = {} if kind.retry_after is None else {"Retry-After": str(kind.retry_after)}
    return JSONResponse(
        problem(code, detail, request_id.get()),
        status_code=kind.status,
        headers={**waiting, **(headers or {}), "X-AMIR-Problem": code},
        media_type=MEDIA_TYPE,
    )


def internal_problem() -> JSONResponse:
    detail = "the fault is ours and is recorded under the request id; tell it to the operator"
    return problem_answer("internal", detail)


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InputError)
    headers = error.headers if isinstance(error, RequestError) else {}
    wait = getattr(error, "retry_after_seconds", None)
    if wait is not None:
        headers = {**headers, "Retry-After": str(max(1, round(wait)))}
    return problem_answer(error.code, str(error), headers)


async def _wrong_parameters(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return problem_answer("invalid_setting", _sentence(error.errors()))


async def _of_framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _CODES_OF_FRAMEWORK.get(error.status_code, "internal")
    return problem_answer(code, PROBLEMS[code].title, dict(error.headers or {}))


def _sentence(errors: Sequence[Any]) -> str:
    """Which parameter is wrong and how; its value is not repeated."""
    return "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in errors)
