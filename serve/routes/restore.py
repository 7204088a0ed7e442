"""POST /v1/restore: a file in, the restored file out."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from serve.api_documentation import file_body, problems, restored_file
from serve.boundary.admission import APlace, Desk, TheService
from serve.boundary.disconnects import while_connected
from serve.metrics import count_restoration
from serve.restoring.answers import file_answer, multipart_answer
from serve.restoring.options import RestoreOptions
from serve.restoring.restoration import restore_upload
from serve.restoring.uploads import receive_upload

IMAGE_PROBLEMS = (
    "unreadable",
    "wrong_modality",
    "mixed_series",
    "inconsistent",
    "missing_slice",
    "duplicate_position",
    "missing_tag",
    "unsupported",
    "not_finite",
    "empty",
    "outlier",
    "missing_file",
)
UPLOAD_PROBLEMS = ("slow_client", "too_large", "unsupported_media_type", "disk_full")

router = APIRouter(tags=["restore"])


class RestoreQuery(RestoreOptions):
    report: bool = False
    """Answer multipart/mixed: the report as JSON, then the file."""

    @property
    def options(self) -> RestoreOptions:
        return RestoreOptions.model_validate(self.model_dump(exclude={"report"}))


@router.post(
    "/v1/restore",
    response_class=StreamingResponse,
    responses={
        **restored_file(),
        **problems(*UPLOAD_PROBLEMS, *IMAGE_PROBLEMS, "unknown_model", "overloaded"),
    },
    openapi_extra=file_body(),
    dependencies=[APlace],
)
async def restore(
    request: Request, query: Annotated[RestoreQuery, Query()], service: TheService, desk: Desk
) -> StreamingResponse:
    """Restore one scan: the body is the file, the answer is the same kind of file.

    The whole series is restored by one model, named in `X-AMIR-Model`. For research use only.
    """
    start = time.perf_counter()
    upload = await receive_upload(
        request.stream(), desk, content_type=request.headers.get("Content-Type", "")
    )
    received = time.perf_counter() - start
    work = restore_upload(upload, query.options, service.tools, folder=desk)
    restored = await while_connected(request, work)
    restored.report.seconds["receive"] = round(received, 6)
    count_restoration(service.metrics, restored.report, upload.size)
    return multipart_answer(restored) if query.report else file_answer(restored)
