"""Damage to gzip streams and zip archives, and to what they hold with every checksum right."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from random import Random

from benchmarks.mutation.plain import Mutator, truncate

_LISTED, _LOCAL, _END = b"PK\1\2", b"PK\3\4", b"PK\5\6"
# Places in an entry of the list of members, and in the header before a member, with their type.
_LISTED_FIELDS = [(6, "H"), (8, "H"), (10, "H"), (16, "I"), (20, "I"), (24, "I"), (28, "H")]
_LISTED_FIELDS += [(30, "H"), (32, "H"), (34, "H"), (38, "I"), (42, "I")]
_LOCAL_FIELDS = [(6, "H"), (8, "H"), (14, "I"), (18, "I"), (22, "I"), (26, "H"), (28, "H")]
_END_FIELDS = [(4, "H"), (8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "H")]
_NAMES = [
    "../a.dcm",
    "/etc/passwd",
    "C:\\a.dcm",
    "a/../../b.dcm",
    "con.dcm",
    "a\\b.dcm",
    "x" * 60_000,
]


def within_gzip(inner: Mutator) -> Mutator:
    """A damaged file, packed as it should be."""

    def packed(content: bytes, random: Random) -> bytes:
        return gzip.compress(inner(gzip.decompress(content), random), mtime=0)

    packed.__name__ = f"packed {inner.__name__}"
    return packed


def within_zip(inner: Mutator) -> Mutator:
    """An archive one or all of whose members are damaged, packed as it should be."""

    def packed(content: bytes, random: Random) -> bytes:
        members = unzipped(content)
        chosen = set(random.sample(range(len(members)), random.choice([1, len(members)])))
        damaged = [
            (name, inner(data, random) if index in chosen else data)
            for index, (name, data) in enumerate(members)
        ]
        return zipped(damaged)

    packed.__name__ = f"packed {inner.__name__}"
    return packed


def append_stream(content: bytes, random: Random) -> bytes:
    return content + random.choice([gzip.compress(b"\0" * 1000), content, b"\x1f\x8b\x08\0"])


def change_trailer(content: bytes, random: Random) -> bytes:
    """The checksum and length that a gzip stream ends with."""
    return content[:-8] + struct.pack("<II", random.getrandbits(32), random.choice([0, 2**32 - 1]))


def change_zip_field(content: bytes, random: Random) -> bytes:
    mark, fields = random.choice(
        [
            (_LISTED, _LISTED_FIELDS),
            (_LISTED, _LISTED_FIELDS),
            (_LOCAL, _LOCAL_FIELDS),
            (_END, _END_FIELDS),
        ]
    )
    starts = _all_of(content, mark)
    changed = bytearray(content)
    for start in random.choice([starts, [random.choice(starts)]]):
        place, kind = random.choice(fields)
        largest = 256 ** struct.calcsize(kind) - 1
        value = random.choice([0, 1, 8, 9, 14, 99, largest, largest - 1, random.randrange(largest)])
        struct.pack_into(f"<{kind}", changed, start + place, value)
    return bytes(changed)


def drop_member(content: bytes, random: Random) -> bytes:
    members = unzipped(content)
    return zipped([m for m in members if m is not random.choice(members)])


def double_member(content: bytes, random: Random) -> bytes:
    members = unzipped(content)
    name, data = random.choice(members)
    return zipped([*members, (random.choice([name, f"again-{name}"]), data)])


def add_member(content: bytes, random: Random) -> bytes:
    junk = random.choice([b"", b"hello", random.randbytes(500), content, b"\0" * 128 + b"DICM"])
    return zipped([*unzipped(content), (random.choice([*_NAMES, "b.dcm", "DICOMDIR"]), junk)])


def rename_member(content: bytes, random: Random) -> bytes:
    members = unzipped(content)
    members[random.randrange(len(members))] = (random.choice(_NAMES), members[0][1])
    return zipped(members)


def zipped(members: list[tuple[str, bytes]]) -> bytes:
    """Names and contents as an archive, which may have a name twice."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        seen: set[str] = set()
        for name, data in members:
            # Python warns of a name that it has written; the second is renamed once it is there.
            if name in seen:
                archive.writestr(other := zipfile.ZipInfo(f"{name}~"), data, zipfile.ZIP_DEFLATED)
                other.filename = name
            else:
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
            seen.add(name)
    return file.getvalue()


def unzipped(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(member.filename, archive.read(member)) for member in archive.infolist()]


def _all_of(content: bytes, mark: bytes) -> list[int]:
    found, at = [], content.find(mark)
    while at >= 0:
        found.append(at)
        at = content.find(mark, at + 1)
    return found


GZIP: list[Mutator] = [append_stream, change_trailer, truncate]
ZIP: list[Mutator] = [change_zip_field, change_zip_field, change_zip_field, drop_member]
ZIP += [double_member, add_member, rename_member]
