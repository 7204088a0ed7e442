"""/v1/jobs: restorations that outlive the connection, the replica and the ingress."""

from __future__ import annotations

import asyncio
import time
from asyncio import to_thread
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict

from serve.api_documentation import file_body, problems, restored_file
from serve.boundary.admission import APlace, Desk, Owner, TheService
from serve.boundary.problems import RequestError
from serve.jobs.results import AboutResult
from serve.jobs.store import Job, JobFailure, JobState, KeyReusedError
from serve.jobs.views import ViewName, view_of
from serve.restoring.answers import headers_of
from serve.restoring.options import RestoreOptions
from serve.restoring.report import Report
from serve.restoring.uploads import receive_upload
from serve.routes.restore import IMAGE_PROBLEMS, UPLOAD_PROBLEMS
from serve.service import Service

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_BETWEEN_SIGNS_OF_LIFE = 10.0
NOT_THERE = "there is no such job, or it is another's; its time may be over"

router = APIRouter(tags=["jobs"])


class Progress(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    done: int
    total: int
    """Slices; 0 until the file was read."""


class Links(BaseModel):
    self: str
    events: str
    result: str
    report: str
    degraded: str
    restored: str
    uncertainty: str


class JobAnswer(BaseModel):
    """How far a job is."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    state: Literal["queued", "running", "done", "failed"]
    created: datetime
    expires: datetime
    """When the job, its file and its result are deleted."""
    progress: Progress
    error: JobFailure | None
    """Why it failed, as POST /v1/restore would have answered."""
    links: Links


async def a_job(job_id: str, service: TheService, owner: Owner) -> Job:
    """The job of the address, if it is the token's."""
    job = await to_thread(service.jobs.store.find, job_id, owner)
    if job is None:
        raise RequestError("not_found", NOT_THERE)
    return job


async def a_state(job: TheJob, service: TheService) -> JobState:
    state = await to_thread(service.jobs.store.state, job.id)
    if state is None:
        raise RequestError("not_found", NOT_THERE)
    return state


TheJob = Annotated[Job, Depends(a_job)]
TheState = Annotated[JobState, Depends(a_state)]


@router.post(
    "/v1/jobs",
    status_code=202,
    responses=problems(*UPLOAD_PROBLEMS, "unknown_model", "overloaded", "key_reused"),
    openapi_extra=file_body(),
    dependencies=[APlace],
)
async def submit(
    request: Request,
    response: Response,
    options: Annotated[RestoreOptions, Query()],
    service: TheService,
    owner: Owner,
    desk: Desk,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> JobAnswer:
    """Keep a file and restore it in the background; the answer says where to ask for it.

    The same `Idempotency-Key` with the same file and options is the same job.
    """
    await service.engine.choose(options.model)
    upload = await receive_upload(
        request.stream(), desk, content_type=request.headers.get("Content-Type", "")
    )
    job = Job(
        owner=owner,
        filename=upload.path.name,
        input_digest=upload.digest,
        options=options.model_dump(mode="json"),
    )
    store = service.jobs.store
    try:
        job = await to_thread(store.create, job, upload.path, key=idempotency_key)
    except KeyReusedError:
        message = "this Idempotency-Key came with another file or other options; use a new one"
        raise RequestError("key_reused", message) from None
    service.jobs.wake()
    response.headers["Location"] = _links(job).self
    return _answer(service, job, await a_state(job, service))


@router.get("/v1/jobs/{job_id}", responses=problems("not_found"))
async def status(job: TheJob, state: TheState, service: TheService) -> JobAnswer:
    """How far a job of this token is."""
    return _answer(service, job, state)


@router.get(
    "/v1/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The job as GET gives it, with each change, until it is final."},
        204: {"description": "Nothing changes after the event that Last-Event-ID names."},
        **problems("not_found"),
    },
)
async def events(
    job: TheJob,
    state: TheState,
    service: TheService,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Server-sent events; a stream that broke off goes on after `Last-Event-ID`."""
    last = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
    if state.is_final and state.version <= last:
        return Response(status_code=204)
    headers = {"X-Accel-Buffering": "no"}
    stream = _events(service, job, last)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


@router.get(
    "/v1/jobs/{job_id}/result",
    response_class=FileResponse,
    responses={**restored_file(), **problems("not_found", "not_finished", *IMAGE_PROBLEMS)},
)
async def result(state: TheState, service: TheService) -> FileResponse:
    """The restored file, of the kind that was sent; the problem of a job that failed."""
    path, about = await _finished(service, state)
    return FileResponse(
        path,
        media_type=about.media_type,
        filename=about.filename,
        headers=headers_of(Report.model_validate(about.report)),
    )


@router.get(
    "/v1/jobs/{job_id}/report", responses=problems("not_found", "not_finished", *IMAGE_PROBLEMS)
)
async def report(state: TheState, service: TheService) -> Report:
    """What the restoration did: model, clipped voxels, doubts, timings."""
    _, about = await _finished(service, state)
    return Report.model_validate(about.report)


@router.get(
    "/v1/jobs/{job_id}/view/{name}.nii.gz",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/gzip": {}}},
        **problems("not_found", "not_finished", *IMAGE_PROBLEMS),
    },
    dependencies=[APlace],
)
async def view(
    name: ViewName, job: TheJob, state: TheState, service: TheService, desk: Desk
) -> FileResponse:
    """A volume to look at: NIfTI in RAS order, little-endian, int16 or float32, sform set.

    `degraded` is there from the start, `restored` and `uncertainty` once the job is done.
    """
    if name != "degraded":
        await _finished(service, state)
    path = await view_of(service.jobs.store, service.tools, job, state, name, desk=desk)
    if path is None:
        raise RequestError("not_found", f"this job has no {name}")
    return FileResponse(path, media_type="application/gzip")


@router.delete("/v1/jobs/{job_id}", status_code=204, responses=problems("not_found"))
async def delete(job: TheJob, service: TheService) -> None:
    """End a job and delete its file and its result."""
    service.jobs.forget(job.id)
    await to_thread(service.jobs.store.delete, job)


async def _events(service: Service, job: Job, last: int) -> AsyncIterator[str]:
    spoken = time.monotonic()
    while (state := await to_thread(service.jobs.store.state, job.id)) is not None:
        if state.version > last:
            document = _answer(service, job, state).model_dump_json()
            yield f"id: {state.version}\nevent: progress\ndata: {document}\n\n"
            last, spoken = state.version, time.monotonic()
        elif time.monotonic() - spoken > SECONDS_BETWEEN_SIGNS_OF_LIFE:
            yield ": alive\n\n"
            spoken = time.monotonic()
        if state.is_final:
            return
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


async def _finished(service: Service, state: JobState) -> tuple[Path, AboutResult]:
    """The result of a job that is done; its problem if it failed, another if it is not done."""
    if state.problem is not None:
        raise RequestError(state.problem.code, state.problem.detail)
    about = await to_thread(service.jobs.store.results.find, state.result) if state.result else None
    if about is None:
        raise RequestError(
            "not_finished", "the job is not done yet; follow its events", {"Retry-After": "1"}
        )
    return service.jobs.store.results.content(state.result, about), about


def _answer(service: Service, job: Job, state: JobState) -> JobAnswer:
    return JobAnswer(
        id=job.id,
        state=state.status,
        created=_moment(job.created),
        expires=_moment(service.jobs.store.expires(state)),
        progress=Progress(done=state.done, total=state.total),
        error=state.problem,
        links=_links(job),
    )


def _links(job: Job) -> Links:
    own = f"/v1/jobs/{job.id}"
    return Links(
        self=own,
        events=f"{own}/events",
        result=f"{own}/result",
        report=f"{own}/report",
        degraded=f"{own}/view/degraded.nii.gz",
        restored=f"{own}/view/restored.nii.gz",
        uncertainty=f"{own}/view/uncertainty.nii.gz",
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=0)
