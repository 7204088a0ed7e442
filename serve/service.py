"""What the routes of one process share: engine, limits, tokens, counters and a place for files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from amir.config import ServeSettings
from amir.inference.engine.slices import Engine
from serve.boundary.places import Places
from serve.boundary.rate_limit import RateLimit
from serve.boundary.tokens import Tokens
from serve.jobs.restoration import JobRestoration
from serve.jobs.runner import JobRunner
from serve.jobs.store import Bounds, JobStore
from serve.metrics import Metrics
from serve.restoring.processes import FileProcesses
from serve.restoring.restoration import Tools
from serve.restoring.uploads import Workplace
from serve.shared_metrics import SharedMetrics, metrics_folder


@dataclass(frozen=True, eq=False)
class Service:
    """Handed to the routes as `app.state.service`.

    tensor_turns: at parsing and answering tensors, which lie in memory.
    """

    settings: ServeSettings
    tools: Tools
    tokens: Tokens
    rate: RateLimit
    places: Places
    metrics: Metrics
    shared_metrics: SharedMetrics
    workplace: Workplace
    jobs: JobRunner
    tensor_turns: asyncio.Semaphore

    @property
    def engine(self) -> Engine:
        return self.tools.engine


@asynccontextmanager
async def running_service(
    settings: ServeSettings, engine: Engine, metrics: Metrics
) -> AsyncIterator[Service]:
    """A service for a while; its processes are started, its files removed at the end."""
    files = FileProcesses(settings.limits)
    workplace = Workplace(settings.folder)
    shared = SharedMetrics(metrics_folder(settings), metrics)
    writing = asyncio.create_task(shared.keep_up())
    tools = Tools(engine, files, settings.limits, settings.trust)
    jobs = _job_runner(settings, tools, workplace, metrics)
    try:
        await files.warm()
        jobs.start()
        yield Service(
            settings=settings,
            tools=tools,
            tokens=Tokens(settings.tokens),
            rate=RateLimit(settings.rate),
            places=Places(
                settings.limits.concurrent,
                patience=settings.engine.batch.queue_seconds,
                on_waiting=partial(metrics.show, "amir_requests_waiting"),
            ),
            metrics=metrics,
            shared_metrics=shared,
            workplace=workplace,
            jobs=jobs,
            tensor_turns=asyncio.Semaphore(settings.tensors.at_once),
        )
    finally:
        await jobs.stop()
        writing.cancel()
        shared.close()
        workplace.close()


def _job_runner(
    settings: ServeSettings, tools: Tools, workplace: Workplace, metrics: Metrics
) -> JobRunner:
    kept = settings.jobs
    bounds = Bounds(jobs=kept.stored, bytes=kept.stored_bytes, keep_seconds=3600 * kept.keep_hours)
    store = JobStore(kept.folder or settings.storage / "jobs", bounds)
    return JobRunner(store, JobRestoration(store, tools, workplace, metrics), kept)
