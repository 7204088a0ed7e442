"""Output that is complete or absent: written under a temporary name beside it, then renamed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from amir.errors import InputError


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that becomes `folder` when the block ends well and vanishes when not."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"{folder.name} exists and is not an empty folder; choose another output"
        raise InputError("invalid_setting", message)
    with _disk_full_is_named(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = folder.parent / f".{uuid4().hex}.partial"
        staging.mkdir()
        try:
            yield staging
            staging.replace(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def staged_file(path: Path, *, suffix: str) -> Iterator[Path]:
    """A name ending in `suffix` that replaces `path` when the block ends well."""
    with _disk_full_is_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.parent / f".{uuid4().hex}.partial{suffix}"
        try:
            yield staging
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)


@contextmanager
def _disk_full_is_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"no room left on the disk while writing {path.name}; free some and repeat"
        raise InputError("disk_full", message) from error
