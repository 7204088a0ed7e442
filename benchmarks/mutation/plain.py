"""Damage to any file: bits, lengths and pieces, as a bad disk or a bad mind leaves them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

Mutator = Callable[[bytes, Random], bytes]

# A header is small and decides everything: half of all damage goes there.
_HEADER_BYTES = 1024
_EXTREME_WORDS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0"]


def flip_bits(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 8, 64])):
        changed[_place(content, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def truncate(content: bytes, random: Random) -> bytes:
    return content[: random.choice([0, 1, _place(content, random), _place(content, random)])]


def cut_out(content: bytes, random: Random) -> bytes:
    start = _place(content, random)
    return content[:start] + content[start + random.choice([1, 2, 7, 128, 4096]) :]


def repeat_piece(content: bytes, random: Random) -> bytes:
    start = _place(content, random)
    piece = content[start : start + random.choice([1, 2, 8, 132, 4096])]
    return content[:start] + piece * random.choice([2, 3, 50]) + content[start:]


def fill_piece(content: bytes, random: Random) -> bytes:
    start, length = _place(content, random), random.choice([1, 4, 16, 512])
    piece = content[start : start + length]
    return (
        content[:start] + random.choice([b"\0", b"\xff"]) * len(piece) + content[start + length :]
    )


def write_extreme_word(content: bytes, random: Random) -> bytes:
    start = _place(content, random) & ~1
    return content[:start] + random.choice(_EXTREME_WORDS) + content[start + 4 :]


def append_junk(content: bytes, random: Random) -> bytes:
    return content + random.choice([b"\0", random.randbytes(3000), content])


def _place(content: bytes, random: Random) -> int:
    if not content:
        raise ValueError("there is nothing to damage in an empty file")
    end = random.choice([len(content), min(_HEADER_BYTES, len(content))])
    return random.randrange(end)


PLAIN: list[Mutator] = [
    flip_bits,
    truncate,
    cut_out,
    repeat_piece,
    fill_piece,
    write_extreme_word,
    append_junk,
]
