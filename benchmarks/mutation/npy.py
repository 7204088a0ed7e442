"""Damage to the header of a .npy file: what it says of type, shape and itself."""

from __future__ import annotations

import struct
from random import Random

from benchmarks.mutation.plain import Mutator

_TYPES = [
    "|O",
    "<f16",
    "<c8",
    "|V8",
    "<U4",
    "|S4",
    "<m8[s]",
    "|b1",
    ">f4",
    "<f2",
    "<i8",
    "<u2",
    "x",
    "",
]
_TYPES += ["<f4' + 'x", "[('a', '<f4')]", "<f4\\0", "O" * 300]
_SHAPES = ["(", "()", "(0,)", "(0, 4, 4)", "(-1, 4)", "(9223372036854775807, 2, 2)", "(2**9, 2)"]
_SHAPES += ["(1000000, 1000000)", "[4, 4]", "(4.0, 4.0)", "('4', 4)", "4", "None", "(True, 16)"]
_SHAPES += ["(" + "1, " * 40 + ")", "(" + "1, " * 70 + ")", "(((((4, 4)))))", "(" * 300, "{}"]
_HEADERS = [
    "{}",
    "[]",
    "None",
    "{'descr': '<f4'}",
    "__import__('os').system('true')",
    "{" * 1000,
    "\0",
]


def change_type(content: bytes, random: Random) -> bytes:
    return _with_header(content, f"'descr': '{random.choice(_TYPES)}'", "(4, 16, 16)")


def change_shape(content: bytes, random: Random) -> bytes:
    return _with_header(content, "'descr': '<f4'", random.choice(_SHAPES))


def change_header(content: bytes, random: Random) -> bytes:
    return _rebuilt(content, random.choice(_HEADERS))


def change_version(content: bytes, random: Random) -> bytes:
    version = random.choice([(0, 0), (2, 0), (3, 0), (4, 0), (255, 255)])
    return content[:6] + bytes(version) + content[8:]


def change_header_length(content: bytes, random: Random) -> bytes:
    return content[:8] + struct.pack("<H", random.choice([0, 1, 10, 60_000, 65_535])) + content[10:]


def write_special_numbers(content: bytes, random: Random) -> bytes:
    start = len(content) - 4 * random.choice([1, 7, 60])
    value = random.choice([float("nan"), float("inf"), float("-inf"), 3e38])
    return content[:start] + struct.pack("<f", value) + content[start + 4 :]


def _with_header(content: bytes, described: str, shape: str) -> bytes:
    return _rebuilt(content, f"{{{described}, 'fortran_order': False, 'shape': {shape}, }}")


def _rebuilt(content: bytes, header: str) -> bytes:
    """Version 1.0 with another header before the numbers."""
    data = content[10 + struct.unpack_from("<H", content, 8)[0] :]
    text = header.encode("latin-1")[:60_000] + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


NPY: list[Mutator] = [change_type, change_shape, change_header, change_version]
NPY += [change_header_length, write_special_numbers]
