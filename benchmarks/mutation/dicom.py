"""Damage to the elements of a DICOM file that keeps the rest of it readable."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from random import Random

from benchmarks.mutation.plain import Mutator

_LONG_LENGTH = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT"}
_REPRESENTATIONS = [*_LONG_LENGTH, b"DS", b"IS", b"US", b"SS", b"FD", b"CS", b"LO", b"TM", b"??"]
_NUMBERS = ["nan", "inf", "-inf", "1e400", "1e308", "-1e308", "1e-320", "0", "-0", "-1", "", "a"]
_NUMBERS += [
    "1\\2",
    "1\\nan\\3",
    "9" * 16,
    "0x10",
    "1_000",
    " ",
    "\\",
    "1e5\\1e5\\1e5\\1e5\\1e5\\1e5",
]
_WHOLE_NUMBERS = [
    "2147483647",
    "-2147483648",
    "99999999999",
    "0",
    "-1",
    "",
    "1.5",
    "nan",
    "a",
    "1\\1",
]
_TEXTS = [
    "",
    " ",
    "\\",
    "CT",
    "MR",
    "PT",
    "OT",
    "MONOCHROME1",
    "RGB",
    "../../etc/passwd",
    "A" * 5000,
]
_TEXTS += ["\0", "BQML", "CNTS", "NONE", "ADMIN", "240000", "99999999", "1.2.840.10008.1.2.4.90"]
_TEXTS += [
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.5",
]
# Elements that reading depends on, which random choice among a hundred would seldom meet.
_DECISIVE = {
    *(0x00020010, 0x00080008, 0x00080016, 0x00080060, 0x0020000E, 0x00200032, 0x00200037),
    *(0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280100),
    *(0x00280101, 0x00280102, 0x00280103, 0x00280120, 0x00281052, 0x00281053, 0x00540016),
    *(0x00541001, 0x00541102, 0x00080031, 0x00080032, 0x00101030, 0x00180050, 0x7FE00010),
}


@dataclass(frozen=True)
class Element:
    """Places in the file: of the tag, of the length field, of the value and of what follows."""

    tag: int
    representation: bytes
    start: int
    length_at: int
    value_at: int
    end: int

    def bytes_of(self, content: bytes) -> bytes:
        return content[self.start : self.end]


def elements(content: bytes) -> list[Element]:
    """Those of the top level in Explicit VR Little Endian, up to the first of unknown length."""
    found: list[Element] = []
    at = 132
    while at + 12 <= len(content):
        group, number, kind, short = struct.unpack_from("<HH2sH", content, at)
        is_long = kind in _LONG_LENGTH
        length = struct.unpack_from("<I", content, at + 8)[0] if is_long else short
        value_at = at + (12 if is_long else 8)
        if not kind.isalpha() or value_at + length > len(content):
            break
        length_at = at + (8 if is_long else 6)
        tag = group << 16 | number
        found.append(Element(tag, kind, at, length_at, value_at, value_at + length))
        at = value_at + length
    return found


def drop_element(content: bytes, random: Random) -> bytes:
    element = _one(content, random)
    return content[: element.start] + content[element.end :]


def double_element(content: bytes, random: Random) -> bytes:
    element = _one(content, random)
    return content[: element.end] + element.bytes_of(content) + content[element.end :]


def move_element(content: bytes, random: Random) -> bytes:
    element, place = _one(content, random), _one(content, random)
    without = content[: element.start] + content[element.end :]
    at = place.start if place.start <= element.start else place.end - (element.end - element.start)
    return without[:at] + element.bytes_of(content) + without[at:]


def change_representation(content: bytes, random: Random) -> bytes:
    at = _one(content, random).start + 4
    return content[:at] + random.choice(_REPRESENTATIONS) + content[at + 2 :]


def change_length(content: bytes, random: Random) -> bytes:
    element = _one(content, random)
    size = 4 if element.representation in _LONG_LENGTH else 2
    largest = 256**size - 1
    length = random.choice([0, 1, largest, largest - 1, largest // 2, random.randrange(largest)])
    return (
        content[: element.length_at] + length.to_bytes(size, "little") + content[element.value_at :]
    )


def change_value(content: bytes, random: Random) -> bytes:
    element = _one(content, random)
    return replaced(content, element, _hostile_value(element, random))


def nest_sequences(content: bytes, random: Random) -> bytes:
    """A private sequence within itself, as deep as it gets."""
    element = _one(content, random)
    opened = struct.pack("<HH2sHI", 0x0009, 0x1001, b"SQ", 0, 0xFFFFFFFF)
    opened += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return (
        content[: element.start]
        + opened * random.choice([3, 1500, 20_000])
        + content[element.start :]
    )


def replaced(content: bytes, element: Element, value: bytes) -> bytes:
    """The file with another value of an element, and the length that belongs to it."""
    size = 4 if element.representation in _LONG_LENGTH else 2
    value = value[: 256**size - 2]
    value += b" " * (len(value) % 2)
    length = len(value).to_bytes(size, "little")
    return content[: element.length_at] + length + value + content[element.end :]


def _one(content: bytes, random: Random) -> Element:
    found = elements(content)
    decisive = [element for element in found if element.tag in _DECISIVE]
    if not found:
        raise ValueError("no element of Explicit VR Little Endian")
    return random.choice(decisive if decisive and random.random() < 0.7 else found)


def _hostile_value(element: Element, random: Random) -> bytes:
    kind = element.representation
    if kind in (b"US", b"SS", b"UL", b"SL"):
        size = 2 if kind in (b"US", b"SS") else 4
        number = random.choice([0, 1, 7, 8, 12, 16, 17, 32, 255, 256, 4096, 256**size - 1])
        return number.to_bytes(size, "little") * random.choice([1, 1, 1, 2])
    if kind in (b"FD", b"FL"):
        least, smallest, form = (-1e308, 1e-320, "<d") if kind == b"FD" else (-3e38, 1e-40, "<f")
        number = random.choice([float("nan"), float("inf"), least, 0.0, smallest])
        return struct.pack(form, number)
    if kind == b"IS":
        return random.choice(_WHOLE_NUMBERS).encode()
    if kind == b"DS":
        return random.choice(_NUMBERS).encode()
    if kind in (b"OW", b"OB"):
        return random.randbytes(random.choice([0, 1, 2, 100, 70_000]))
    return random.choice([*_TEXTS, *_NUMBERS]).encode() + random.choice(
        [b"", b"\xff\xfe", b"\x1b$B"]
    )


DICOM: list[Mutator] = [
    drop_element,
    double_element,
    move_element,
    change_representation,
    change_length,
    change_value,
    change_value,
    change_value,
    nest_sequences,
]
