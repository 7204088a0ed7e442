"""Files that appear whole or not at all, and never in place of another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def check_is_new(path: Path) -> None:
    if path.exists():
        raise FileExistsError(f"{path} exists; choose another name")


@contextmanager
def new_path(path: Path) -> Iterator[Path]:
    """A name beside `path` for a file or folder, which becomes `path` when the block ends well."""
    check_is_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid4().hex}.partial{''.join(path.suffixes[-2:])}")
    try:
        yield beside
        _flush(beside)
        check_is_new(path)
        beside.rename(path)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
