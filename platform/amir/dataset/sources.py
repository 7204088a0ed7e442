"""The files of a scan, and whether they are still what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from amir import durable
from amir.dataset.cohort import CohortRow, slice_files


def source_digest(row: CohortRow) -> str:
    """sha256 over the content of every file of a row's scans; where they lie does not matter."""
    parts = [_digest(path) for path in (row.target, row.degraded) if path is not None]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def scan_files(path: Path) -> list[Path]:
    """The files of a scan: itself, all below a folder, or what a pattern stands for."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return slice_files(path) or [path]


def _digest(path: Path) -> str:
    return hashlib.sha256("\n".join(_lines(path)).encode()).hexdigest()


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        yield durable.sha256(path)
        return
    for file in scan_files(path):
        name = file.relative_to(path) if path.is_dir() else file.name
        yield f"{durable.sha256(file)} {name}"
