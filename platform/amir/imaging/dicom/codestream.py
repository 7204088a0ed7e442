"""What a compressed frame declares of its size, before a decoder makes room for it.

JPEG and JPEG-LS (ISO/IEC 10918-1 B.2, 14495-1 C.2): the frame header of marker SOFn. JPEG 2000
(15444-1 A.5): the marker SIZ at once after SOC, in a file perhaps within boxes.
"""

from __future__ import annotations

from amir.errors import InputError

_JPEG2000_START = b"\xff\x4f\xff\x51"
# All SOFn; C4, C8 and CC in that range are something else. F7 is that of JPEG-LS.
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def declared_shape(frame: bytes, name: str) -> tuple[int, int]:
    """(rows, columns) of a single-component frame; InputError where there is no such header."""
    start = frame.find(_JPEG2000_START, 0, 4096)
    shape = _jpeg_shape(frame) if frame[:2] == b"\xff\xd8" else None
    if start >= 0 and shape is None:
        shape = _jpeg2000_shape(frame[start + 4 : start + 44])
    if shape is None:
        message = f"{name}: a compressed frame has no header of one grey image; export it again"
        raise InputError("unreadable", message)
    return shape


def _jpeg2000_shape(segment: bytes) -> tuple[int, int] | None:
    """Lsiz, Rsiz: 2 bytes each; Xsiz, Ysiz, XOsiz, YOsiz: 4 each; 4 of tiles; Csiz: 2."""
    if len(segment) < 38:
        return None
    columns, rows, left, top = (
        int.from_bytes(segment[at : at + 4], "big") for at in range(4, 20, 4)
    )
    components = int.from_bytes(segment[36:38], "big")
    return (rows - top, columns - left) if components == 1 else None


def _jpeg_shape(frame: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 < len(frame):
        if frame[position] != 0xFF:
            return None
        marker = frame[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_HEADERS:
            rows = int.from_bytes(frame[position + 5 : position + 7], "big")
            columns = int.from_bytes(frame[position + 7 : position + 9], "big")
            return (rows, columns) if frame[position + 9] == 1 else None
        position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    return None
