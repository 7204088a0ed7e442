"""A request's body in memory: bounded as sent and as unpacked."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from amir.errors import InputError
from serve.boundary.problems import RequestError

_PACKED = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # told apart by their first bytes


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, unpacked where its Content-Encoding is gzip or deflate.

    RequestError "unsupported_media_type" for other encodings, InputError "too_large" beyond the
    limit in bytes, by the length stated before any is read, and "unreadable" if damaged.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", *_PACKED):
        message = "the body's Content-Encoding is none of gzip, deflate and identity"
        raise RequestError("unsupported_media_type", message)
    stated = request.headers.get("content-length", "")
    if stated.isascii() and stated.isdecimal() and int(stated[:20]) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body) if encoding == "identity" else _unpacked(bytes(body), limit)


def _unpacked(packed: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        body = unpacker.decompress(packed, limit + 1)
    except zlib.error:
        body = b""
    if len(body) > limit:
        raise _too_large(limit)
    if not unpacker.eof or unpacker.unused_data:
        raise InputError("unreadable", "the body does not unpack by its Content-Encoding")
    return body


def _too_large(limit: int) -> InputError:
    return InputError("too_large", f"the body has more than {limit} bytes; send it in parts")
