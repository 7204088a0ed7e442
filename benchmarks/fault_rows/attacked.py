"""A small service that is about to be attacked, and the files to do it with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.mutation.specimens import Specimen, specimens
from benchmarks.small_service import SmallService, small_service

_UNLIMITED = {"requests_per_minute": 1e6, "burst": 1_000_000}


@contextmanager
def attacked(*, seconds: float = 0.0, **settings: Any) -> Iterator[SmallService]:
    """A service of its own in a temporary folder, which answers any number of requests."""
    with (
        tempfile.TemporaryDirectory(prefix="amir-faults-") as folder,
        small_service(Path(folder), seconds=seconds, rate=_UNLIMITED, **settings) as service,
    ):
        yield service


def sound_files() -> list[Specimen]:
    with tempfile.TemporaryDirectory(prefix="amir-faults-") as folder:
        return specimens(Path(folder))


def send(service: SmallService, content: bytes, modality: str | None = None) -> httpx.Response:
    """A file to /v1/restore; modality: where it does not say it itself."""
    return httpx.post(
        f"{service.url}/v1/restore",
        params={"modality": modality} if modality else {},
        content=content,
        headers={"Content-Type": "application/octet-stream"},
        timeout=120,
    )


def code_of(answer: httpx.Response) -> str:
    """The code of a refusal, "" of an answer."""
    return answer.headers.get("X-AMIR-Problem", "")
