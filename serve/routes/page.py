"""The before/after page at /, its files, and phantoms to try it with.

The page and its files are open to all and hold nothing.
"""

from __future__ import annotations

from asyncio import to_thread
from pathlib import Path
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from amir.modality import Modality
from serve.api_documentation import problems_alone
from serve.boundary.admission import Owner
from serve.boundary.problems import RequestError
from serve.examples import example_file

WEB = Path(__file__).resolve().parent.parent / "web"
FILES = {path.name: path for path in sorted(WEB.iterdir())}
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    return _file("index.html")


@router.get("/static/{name}", responses=problems_alone("not_found"))
async def static(name: str) -> FileResponse:
    return _file(name)


@router.get("/examples/{name}.nii.gz")
async def example(name: Literal["mri", "ct", "pet"], owner: Owner) -> Response:
    """A drawn phantom, degraded as in training; drawing takes time, so a token is needed."""
    content = await to_thread(example_file, Modality(name.upper()))
    return Response(
        content, media_type="application/x-nifti", headers={"Cache-Control": "no-cache"}
    )


def _file(name: str) -> FileResponse:
    if name not in FILES:
        raise RequestError("not_found", "the page has no such file")
    path = FILES[name]
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=HEADERS)
