"""What the OpenAPI document says beside the routes themselves: bodies, answers and problems."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

from serve.boundary.problems import MEDIA_TYPE, PROBLEMS, problem
from serve.restoring.upload_kinds import MEDIA_TYPES

Responses = dict[int | str, dict[str, Any]]

_BINARY = {"type": "string", "format": "binary"}
_EXAMPLE_ID = "5f0c2f4b9f0a4b4f8f6f0f6d1c2b3a49"
# Any request can meet these, whatever the route.
_ANYWHERE = ("unauthorized", "rate_limited", "invalid_setting", "internal")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    title: str
    status: int
    detail: str
    code: str
    """Stable, of the closed list in docs/serving.md."""
    request_id: str
    error: str
    """The detail again, for clients of the Open Inference Protocol."""


def document(app: FastAPI, *bodies: type[BaseModel]) -> None:
    """Let the application's OpenAPI document hold what the routes refer to.

    A RuntimeError, once it is asked for, where two models of one name mean different things.
    """
    written = app.openapi
    place = "#/components/schemas/{model}"
    models: tuple[type[BaseModel], ...] = (Problem, *bodies)
    shown: list[tuple[type[BaseModel], Literal["validation"]]] = [(m, "validation") for m in models]

    def whole() -> dict[str, Any]:
        described = written()
        _, schemas = models_json_schema(shown, ref_template=place)
        known = described["components"]["schemas"]
        if twice := [n for n, schema in schemas["$defs"].items() if known.get(n, schema) != schema]:
            raise RuntimeError(f"two models are called {', '.join(twice)}; rename one")
        known |= schemas["$defs"]
        return described

    app.openapi = whole  # type: ignore[method-assign]


def reference(model: type[BaseModel]) -> dict[str, str]:
    """The schema of a model that `document` was told of."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def problems(*codes: str) -> Responses:
    """The refusals of a protected route, by status."""
    return problems_alone(*_ANYWHERE, *codes)


def problems_alone(*codes: str) -> Responses:
    """Exactly these refusals, by status."""
    by_status: dict[int | str, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {status: _described(of_status) for status, of_status in by_status.items()}


def restored_file() -> Responses:
    """The answer to a file: one of its kind."""
    headers = {
        "X-AMIR-Model": "Digest of the model, the same for every slice.",
        "X-AMIR-Clipped": "Voxels outside the range of training.",
        "X-AMIR-Flags": "Doubts about the scan, if there are any, separated by commas.",
        "X-Request-ID": "In every line of the log about this request.",
    }
    content = {kind: {"schema": _BINARY} for kind in (*MEDIA_TYPES, "multipart/mixed")}
    described = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
    }
    return {
        200: {
            "description": "The restored file, of the kind that was sent; with report=1 "
            "multipart/mixed, the report (application/json) first.",
            "content": content,
            "headers": described,
        }
    }


def file_body() -> dict[str, Any]:
    """`openapi_extra` of a route whose body is one file."""
    kinds = (*MEDIA_TYPES, "application/octet-stream")
    return {
        "requestBody": {
            "required": True,
            "description": "One DICOM file, a zip of one series, a NIfTI volume (.nii, .nii.gz) "
            "or a NumPy array [H, W] or [n, H, W] (.npy).",
            "content": {kind: {"schema": _BINARY} for kind in kinds},
        }
    }


def _described(codes: list[str]) -> dict[str, Any]:
    examples = {code: {"value": problem(code, PROBLEMS[code].title, _EXAMPLE_ID)} for code in codes}
    return {
        "description": "; ".join(f"{code}: {PROBLEMS[code].title}" for code in codes),
        "content": {
            MEDIA_TYPE: {
                "schema": reference(Problem),
                "examples": examples,
            }
        },
    }
