"""A restored file on its way out: read from disk piece by piece, alone or with its report."""

from __future__ import annotations

import secrets
from asyncio import to_thread
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi.responses import StreamingResponse

from serve.restoring.report import Report
from serve.restoring.restoration import RestoredUpload

_PIECE = 2**18


def file_answer(restored: RestoredUpload) -> StreamingResponse:
    """The restored file."""
    return _streamed(restored, before=b"", after=b"", media_type=restored.media_type)


def multipart_answer(restored: RestoredUpload) -> StreamingResponse:
    """multipart/mixed (RFC 2046): the report, then the restored file."""
    boundary = secrets.token_hex(16)
    before = (
        f"--{boundary}\r\nContent-Type: application/json\r\n"
        'Content-Disposition: inline; name="report"\r\n\r\n'
        f"{restored.report.model_dump_json()}\r\n"
        f"--{boundary}\r\nContent-Type: {restored.media_type}\r\n"
        f'Content-Disposition: attachment; filename="{restored.filename}"\r\n\r\n'
    )
    return _streamed(
        restored,
        before=before.encode(),
        after=f"\r\n--{boundary}--\r\n".encode(),
        media_type=f"multipart/mixed; boundary={boundary}",
    )


def headers_of(report: Report) -> dict[str, str]:
    """What the answer's headers say of a restoration."""
    flags = ",".join(dict.fromkeys(flag.code for flag in report.flags))
    return {
        "X-AMIR-Model": report.model.digest,
        "X-AMIR-Clipped": str(report.clipped_voxels),
        **({"X-AMIR-Flags": flags} if flags else {}),
    }


def _streamed(
    restored: RestoredUpload, *, before: bytes, after: bytes, media_type: str
) -> StreamingResponse:
    size = len(before) + restored.path.stat().st_size + len(after)
    headers = {
        **headers_of(restored.report),
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="{restored.filename}"',
    }
    pieces = _pieces(restored.path, before, after)
    return StreamingResponse(pieces, headers=headers, media_type=media_type)


async def _pieces(path: Path, before: bytes, after: bytes) -> AsyncIterator[bytes]:
    if before:
        yield before
    with path.open("rb") as file:
        while piece := await to_thread(file.read, _PIECE):
            yield piece
    if after:
        yield after
