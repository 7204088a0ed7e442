"""Files and folders that appear whole or not at all: written beside, flushed to disk, renamed.

A full disk is an InputError("disk_full") that names what could not be written.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

from amir.errors import InputError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A name beside `path` that replaces it when the block ends well, and vanishes when not.

    The name ends like the path, for libraries that go by the suffix.
    """
    with disk_full_is_named(path):
        beside = _beside(path)
        try:
            yield beside
            flush(beside)
            beside.replace(path)
            flush(path.parent)
        finally:
            beside.unlink(missing_ok=True)


def new_folder(folder: Path) -> AbstractContextManager[Path]:
    """An empty folder that becomes `folder` when the block ends well, and vanishes when not.

    InputError("invalid_setting") where something lies already, other than an empty folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"{folder.name} exists and is not an empty folder; choose another output"
        raise InputError("invalid_setting", message)
    return _staged_folder(folder, Path.replace)


def replaced_folder(folder: Path) -> AbstractContextManager[Path]:
    """As `new_folder`, in place of what was there: a reader finds the old, nothing, or the new."""
    return _staged_folder(folder, _exchange)


def write_text(path: Path, text: str) -> None:
    """Replace a file's content; a reader sees the old text or the new."""
    with new_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Remove what a kill left half-written in a folder that nobody else writes to."""
    for path in folder.glob(".*.partial*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_full_is_named(path: Path) -> Iterator[None]:
    """Turn the operating system's error into one that names what was being written."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        message = f"no room left on the disk while writing {path.name}; free some and repeat"
        raise InputError("disk_full", message) from error


@contextmanager
def _staged_folder(folder: Path, publish: Callable[[Path, Path], object]) -> Iterator[Path]:
    with disk_full_is_named(folder):
        beside = _beside(folder)
        beside.mkdir()
        try:
            yield beside
            for path in (*sorted(beside.rglob("*")), beside):
                flush(path)
            publish(beside, folder)
            flush(folder.parent)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _exchange(new: Path, folder: Path) -> None:
    """Put a folder in another's place; removing the old one takes longer than two renames."""
    old = _beside(folder)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A free name in the same folder, hidden, with the same suffixes; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{uuid4().hex}.partial{''.join(path.suffixes[-2:])}")
