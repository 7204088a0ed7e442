"""The HTTP application around an engine; runs under Ray Serve, or under uvicorn alone."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from amir.config import ServeSettings
from amir.inference.engine.slices import Engine
from serve.api_documentation import document
from serve.boundary.around import AroundRequests
from serve.boundary.limits import BodyBounds
from serve.boundary.log import logging_to
from serve.boundary.problem_answers import answer_problems
from serve.metrics import Metrics
from serve.open_inference.tensors import InferenceRequest
from serve.routes import health, inference_v2, jobs, metrics, models, page, restore
from serve.service import running_service

ROUTERS = (
    restore.router,
    jobs.router,
    models.router,
    inference_v2.router,
    health.router,
    metrics.router,
    page.router,
)
DESCRIPTION = (
    "Restores degraded MR, CT and PET scans: a file in, the same kind of file out. "
    "Research use only, not for diagnosis. Every refusal is application/problem+json with a "
    "`code` from a closed list."
)


def create_app(
    settings: ServeSettings,
    engine: Engine,
    *,
    sends_request_id: bool = True,
    log_handler: logging.Handler | None = None,
) -> FastAPI:
    """sends_request_id: False behind Ray Serve's proxy, which adds the header itself.

    log_handler: where lines of JSON go; by default standard error.
    """
    counters = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with logging_to(log_handler or logging.StreamHandler()):
            async with running_service(settings, engine, counters) as service:
                app.state.service = service
                yield

    app = FastAPI(
        title="AMIR",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    for router in ROUTERS:
        app.include_router(router)
    document(app, InferenceRequest)
    answer_problems(app)
    app.add_middleware(BodyBounds, limits=settings.limits)
    app.add_middleware(AroundRequests, metrics=counters, sends_id=sends_request_id)
    return app
