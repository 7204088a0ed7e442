"""Damage to the header of a NIfTI-1 file that keeps it the length it had."""

from __future__ import annotations

import struct
from random import Random

from benchmarks.mutation.plain import Mutator

# Field of the header (nifti1.h): place, type and how many numbers.
_FIELDS = {
    "sizeof_hdr": (0, "i", 1),
    "dim": (40, "h", 8),
    "intent_code": (68, "h", 1),
    "datatype": (70, "h", 1),
    "bitpix": (72, "h", 1),
    "pixdim": (76, "f", 8),
    "vox_offset": (108, "f", 1),
    "scl_slope": (112, "f", 1),
    "scl_inter": (116, "f", 1),
    "xyzt_units": (123, "b", 1),
    "qform_code": (252, "h", 1),
    "sform_code": (254, "h", 1),
    "quatern": (256, "f", 6),
    "srow": (280, "f", 12),
    "extension": (348, "i", 3),
}
_EXTREMES = {
    "b": [0, 1, 3, 7, 127, -128],
    "h": [0, 1, 2, 4, 16, 32, 64, 128, 256, 512, 768, 1536, 1792, 2048, 32767, -1, -32768],
    "i": [0, 1, 348, 540, 2**31 - 1, -1, -(2**31)],
    "f": [
        0.0,
        1.0,
        -1.0,
        352.0,
        353.5,
        1e30,
        3e38,
        1e-38,
        float("nan"),
        float("inf"),
        float("-inf"),
    ],
}


def change_field(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 2])):
        place, kind, count = _FIELDS[random.choice(list(_FIELDS))]
        at = place + random.randrange(count) * struct.calcsize(kind)
        struct.pack_into(f"<{kind}", changed, at, random.choice(_EXTREMES[kind]))
    return bytes(changed)


def swap_byte_order(content: bytes, random: Random) -> bytes:
    return content[:4][::-1] + content[4:]


def declare_larger(content: bytes, random: Random) -> bytes:
    """More voxels than there are, up to more than any memory holds."""
    sizes = [random.choice([64, 1000, 32767]) for _ in range(3)]
    return content[:40] + struct.pack("<4h", 3, *sizes) + content[48:]


def write_special_voxels(content: bytes, random: Random) -> bytes:
    """NaN, infinite and huge numbers among the voxels."""
    changed = bytearray(content)
    value = random.choice([float("nan"), float("inf"), float("-inf"), 3e38, -3e38])
    for _ in range(random.choice([1, 20])):
        struct.pack_into(
            "<f", changed, 352 + 4 * random.randrange((len(content) - 352) // 4), value
        )
    return bytes(changed)


NIFTI: list[Mutator] = [change_field, change_field, change_field, swap_byte_order]
NIFTI += [declare_larger, write_special_voxels]
