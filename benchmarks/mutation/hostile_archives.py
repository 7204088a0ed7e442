"""Archives that attack whoever unpacks them, each around a sound series: 50 ways, by name."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks.mutation.packed import zipped

Members = list[tuple[str, bytes]]

# A member of this name beside the series, or of these attributes.
_NAMES = {
    "parent": "../escaped.dcm",
    "far parent": "../" * 40 + "tmp/escaped.dcm",
    "parent within": "a/../../escaped.dcm",
    "parent after dot": "./../escaped.dcm",
    "parent alone": "..",
    "absolute": "/tmp/escaped.dcm",
    "absolute system file": "/etc/cron.d/escaped.dcm",
    "double slash": "//tmp/escaped.dcm",
    "drive": "C:/escaped.dcm",
    "drive without slash": "C:escaped.dcm",
    "drive with backslash": "C:\\escaped.dcm",
    "share": "\\\\server\\share\\escaped.dcm",
    "parent by backslash": "a\\..\\..\\escaped.dcm",
    "device con": "con",
    "device con.dcm": "CON.dcm",
    "device nul": "a/nul.dcm",
    "device aux": "aux.dcm/a.dcm",
    "device com1": "com1.dcm",
    "device lpt9": "LPT9",
    "line feed": "a\nescaped.dcm",
    "escape": "\x1b[2J.dcm",
    "bell": "a\x07.dcm",
}
_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "link": {"external_attr": (stat.S_IFLNK | 0o777) << 16},
    "character device": {"external_attr": (stat.S_IFCHR | 0o666) << 16},
    "block device": {"external_attr": (stat.S_IFBLK | 0o666) << 16},
    "pipe": {"external_attr": (stat.S_IFIFO | 0o666) << 16},
    "socket": {"external_attr": (stat.S_IFSOCK | 0o666) << 16},
    "bzip2": {"compress_type": zipfile.ZIP_BZIP2},
    "lzma": {"compress_type": zipfile.ZIP_LZMA},
}
# What the list of members says of the second: place in its entry, type and value.
_LIES: dict[str, tuple[int, str, int]] = {
    "encrypted": (8, "H", 1),
    "strongly encrypted": (8, "H", 0x41),
    "patched data": (8, "H", 0x20),
    "unknown method": (10, "H", 99),
    "deflate64": (10, "H", 9),
    "wrong checksum": (16, "I", 1),
    "packed size beyond the file": (20, "I", 2**31),
    "size of 4 GB": (24, "I", 2**32 - 2),
    "size of zip64 without it": (24, "I", 2**32 - 1),
    "size too small": (24, "I", 10),
    "name as long as can be": (28, "H", 65535),
    "extra as long as can be": (30, "H", 65535),
    "comment as long as can be": (32, "H", 65535),
    "place beyond the file": (42, "I", 2**31),
    "place of another": (42, "I", 0),
}


def hostile_archives(series: Members) -> dict[str, bytes]:
    """What attacks how -> the archive; series: names and contents of sound files."""
    sound = series[0][1]
    archives = {name: zipped([*series, (path, sound)]) for name, path in _NAMES.items()}
    archives |= {name: _with(series, **changed) for name, changed in _ATTRIBUTES.items()}
    archives |= {name: _lying(series, *lie) for name, lie in _LIES.items()}
    return archives | {name: make(series) for name, make in _OTHERS.items()}


def _with(series: Members, **changed: Any) -> bytes:
    file = io.BytesIO(zipped(series))
    with zipfile.ZipFile(file, "a") as archive:
        member = zipfile.ZipInfo("attack.dcm")
        for name, value in changed.items():
            setattr(member, name, value)
        archive.writestr(member, series[0][1])
    return file.getvalue()


def _lying(series: Members, place: int, kind: str, value: int) -> bytes:
    content = bytearray(zipped(series))
    entry = content.find(b"PK\1\2", content.find(b"PK\1\2") + 4)
    struct.pack_into(f"<{kind}", content, entry + place, value)
    return bytes(content)


def _twice(series: Members) -> bytes:
    """The second of a name is added under another of the same length, which is then replaced."""
    name = series[0][0]
    other = "~" * len(name)
    return zipped([*series, (other, series[0][1])]).replace(other.encode(), name.encode())


def _overlapping(series: Members) -> bytes:
    """Every entry of the list leads to the first member, by its name and sums."""
    content = zipped([series[0]])
    start, end = content.find(b"PK\1\2"), content.find(b"PK\5\6")
    entry, count = content[start:end], 200
    entries = b"".join(
        entry.replace(series[0][0].encode(), f"{i:0{len(series[0][0])}d}".encode())
        for i in range(count)
    )
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(entries), start, 0)
    return content[:start] + entries + tail


def _zip64(series: Members) -> bytes:
    content = zipped(series)
    at = content.rfind(b"PK\5\6")
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 2**60, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    return content[:at] + record + locator + content[at:]


def _other_count(series: Members) -> bytes:
    content = bytearray(zipped(series))
    struct.pack_into("<HH", content, content.rfind(b"PK\5\6") + 8, 65535, 65535)
    struct.pack_into("<I", content, content.rfind(b"PK\5\6") + 12, 2**31)
    return bytes(content)


def _other_name(series: Members) -> bytes:
    """The header before a member calls it otherwise than the list does."""
    content, name = zipped(series), series[-1][0].encode()
    return content.replace(name, b"~" * len(name), 1)


_OTHERS: dict[str, Callable[[Members], bytes]] = {
    "name twice": _twice,
    "overlapping members": _overlapping,
    "zip64 of 2**60 members": _zip64,
    "another number of members": _other_count,
    "another name before the member": _other_name,
    "nothing": lambda series: zipped([]),
    "folders alone": lambda series: zipped([("a/", b""), ("a/b/", b"")]),
    "zip in zip": lambda series: zipped([("inner.zip", zipped(series))]),
    "gzip in zip": lambda series: zipped([("a.dcm", gzip.compress(series[0][1]))]),
    "bomb": lambda series: zipped([*series, ("a.dcm", bytes(2**27))]),
    "truncated": lambda series: zipped(series)[:-30],
    "noise for a list": lambda series: zipped(series)[:400] + Random(1).randbytes(400),
}
