"""The members of a zip archive as files that are read in place: nothing is ever unpacked to disk.

All limits are checked against what the archive declares before anything is inflated, and no member
yields more than it declares.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from amir.errors import InputError

MAX_MEMBERS = 20_000
MAX_BYTES = 2**32
# Scans deflate to a half or a third; a bomb to a thousandth. Small archives may be as dense as
# they like: a drawn phantom of a few slices is.
_MAX_RATIO = 100
_DENSE_BYTES = 2**26
_MAX_DIRECTORY_BYTES = 2**23

# Before each member, without its name.
_HEADER_BYTES = 30
_PLAIN_KINDS = (0, stat.S_IFREG, stat.S_IFDIR)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)

_END = b"PK\x05\x06"
_LARGE_END = b"PK\x06\x07"
_END_SEARCHED = 2**16 + 64


def is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", _END)


@contextmanager
def opened_zip(path: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """The archive and its files, without folders, hidden files and what macOS adds."""
    count = _checked_member_count(path)
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # of many kinds where the list of members is damaged
        message = (
            f"{path.name} is not a readable zip archive ({type(error).__name__}); zip it again"
        )
        raise InputError("unreadable", message) from None
    with archive:
        members = archive.infolist()
        if len(members) != count:
            message = (
                f"{path.name} says it has {count} members and lists {len(members)}; zip it again"
            )
            raise InputError("unreadable", message)
        _check_totals(path.name, members)
        _check_members(path.name, members)
        _check_places(path.name, members, archive.start_dir)
        yield archive, [member for member in members if _is_shown(member)]


def _checked_member_count(path: Path) -> int:
    """How many members the end of the archive states.

    Python reads the whole list at once, so its size is looked at first; and it passes over what
    comes after a damaged entry, which would drop slices.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _END_SEARCHED))
        tail = file.read()
    if _LARGE_END in tail:
        raise _too_large(path.name, "is a zip64 archive")
    start = tail.find(_END)
    while start >= 0:
        record = tail[start : start + 22]
        if len(record) == 22 and struct.unpack("<I", record[12:16])[0] > _MAX_DIRECTORY_BYTES:
            raise _too_large(path.name, "lists too many members")
        start = tail.find(_END, start + 1)
    last = tail[tail.rfind(_END) :][:12]
    return struct.unpack("<H", last[10:])[0] if len(last) == 12 else 0


def _check_totals(name: str, members: Sequence[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise _too_large(name, f"has {len(members)} members")
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if total > MAX_BYTES:
        raise _too_large(name, f"unpacks to {total} bytes")
    if total > _DENSE_BYTES and total > _MAX_RATIO * packed:
        raise _too_large(name, f"unpacks {packed} bytes to {total}")


def _check_members(name: str, members: Sequence[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for number, member in enumerate(members, start=1):
        fault = _member_fault(member)
        if fault is None and member.filename in seen:
            fault = "has the name of another"
        if fault is not None:
            # Its name can be a patient's, or an attack.
            message = f"{name}: member {number} {fault}; zip the series again"
            raise InputError("unsupported", message)
        seen.add(member.filename)


def _member_fault(member: zipfile.ZipInfo) -> str | None:
    path, kind = PurePosixPath(member.filename), stat.S_IFMT(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(member.filename).drive:
        return "leads out of the archive"
    if "\\" in member.filename or _CONTROL.search(member.orig_filename):
        return "has a name with a backslash or a control character"
    if any(_DEVICE.match(part) for part in path.parts):
        return "has the name of a device"
    if kind not in _PLAIN_KINDS:
        return "is a link or a device"
    if member.flag_bits & 1:
        return "is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is neither stored nor deflated"
    return None


def _check_places(name: str, members: Sequence[zipfile.ZipInfo], start_of_list: int) -> None:
    """Members that share bytes let a small archive unpack to any size (D. Fifield, 2019)."""
    ordered = sorted(members, key=lambda member: member.header_offset)
    following = [*(member.header_offset for member in ordered[1:]), start_of_list]
    for member, start in zip(ordered, following, strict=False):
        if member.header_offset + _HEADER_BYTES + member.compress_size > start:
            message = f"{name}: two members overlap; zip the series again"
            raise InputError("unsupported", message)


def _is_shown(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    return not (member.is_dir() or path.name.startswith(".") or path.parts[:1] == ("__MACOSX",))


def _too_large(name: str, finding: str) -> InputError:
    message = (
        f"{name} {finding}; the limits are {MAX_MEMBERS} members, {MAX_BYTES} bytes and "
        f"{_MAX_RATIO}:1; zip one series"
    )
    return InputError("too_large", message)
