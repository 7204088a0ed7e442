"""What the routes of one process share: engine, limits, tokens, counters and a place for files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from amir.config import ServeSettings
from amir.inference.slices import Engine
from serve.file_processes import FileProcesses
from serve.limits import Places
from serve.metrics import Metrics
from serve.rate_limit import RateLimit
from serve.restoration import Tools
from serve.tokens import Tokens
from serve.uploads import Workplace


@dataclass(frozen=True, eq=False)
class Service:
    """Handed to the routes as `app.state.service`."""

    settings: ServeSettings
    tools: Tools
    tokens: Tokens
    rate: RateLimit
    places: Places
    metrics: Metrics
    workplace: Workplace

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
    try:
        await files.warm()
        yield Service(
            settings=settings,
            tools=Tools(engine, files, settings.limits),
            tokens=Tokens(settings.tokens),
            rate=RateLimit(settings.rate),
            places=Places(settings.limits.concurrent),
            metrics=metrics,
            workplace=workplace,
        )
    finally:
        workplace.close()
