"""Uploads on disk: private files under random names, gone with the request whatever happens."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from amir.allocator import give_back_freed_memory
from amir.durable import disk_full_is_named
from amir.errors import InputError
from serve.restoring.restoration import Upload
from serve.restoring.upload_kinds import HEAD_BYTES, kind_of, kinds_called

_PREFIX = "amir-serve-"
_LOCK = "lock"
_WRITTEN_AT_ONCE = 2**20
_TRIMMED_BEYOND = 2**24


class Workplace:
    """A folder of this process alone, mode 700; what dead processes left beside it is removed."""

    def __init__(self, parent: Path | None = None) -> None:
        parent = Path(tempfile.gettempdir()) if parent is None else parent
        parent.mkdir(parents=True, exist_ok=True)
        _remove_what_the_dead_left(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = (self.folder / _LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    @contextmanager
    def desk(self) -> Iterator[Path]:
        """An empty folder for one request, mode 700."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


async def receive_upload(body: AsyncIterator[bytes], folder: Path, *, content_type: str) -> Upload:
    """The body of a request as a file of mode 600 in a folder, hashed on the way."""
    kinds_called(content_type)  # refused before anything is read
    path = folder / "upload"
    digest, head, size = hashlib.sha256(), b"", 0
    with disk_full_is_named(path), _private(path) as file:
        async for part in _in_large_parts(body):
            head = head or bytes(part[:HEAD_BYTES])
            size += len(part)
            await to_thread(_keep, part, file, digest)
    if (
        size > _TRIMMED_BEYOND
    ):  # it came faster than it was written, so that much of it lay in memory
        await to_thread(give_back_freed_memory)
    if not size:
        raise InputError("empty", "the request has no body; send the file as the body")
    kind = kind_of(head, content_type)
    named = path.rename(folder / f"upload{kind.suffix}")
    return Upload(named, kind, digest.hexdigest(), size)


async def _in_large_parts(body: AsyncIterator[bytes]) -> AsyncIterator[bytearray]:
    waiting = bytearray()
    async for part in body:
        waiting += part
        if len(waiting) >= _WRITTEN_AT_ONCE:
            yield waiting
            waiting = bytearray()
    if waiting:
        yield waiting


def _keep(part: bytearray, file: BinaryIO, digest: hashlib._Hash) -> None:
    file.write(part)
    digest.update(part)


def _private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _remove_what_the_dead_left(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        # A living owner holds the lock; another user's folder cannot be opened.
        with suppress(OSError), (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
