"""The HTTP side as a Ray Serve deployment: one application in each replica.

Its processes import this module and so nothing of torch, which would double their start and their
memory.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from amir import allocator
from amir.config import ServeSettings
from serve.boundary.places import IN_LINE
from serve.engine.handle import ServeEngine
from serve.http_app import create_app
from serve.proxy import WATCHED

NAME = "http"
# Beside restorations and those in line for one, of which `Places` refuses what is too much with an
# answer that says so: what is quick.
QUICK_REQUESTS = 100
CPUS = 0.1  # for scheduling; decoding is bursts


@serve.ingress()
class HttpReplica:
    """settings: of the service, as its JSON."""

    def __init__(self, settings: dict[str, Any], engine: DeploymentHandle) -> None:
        self._settings = ServeSettings.model_validate(settings)
        self._engine = ServeEngine(engine)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Ray once the replica is made."""
        return create_app(self._settings, self._engine, sends_request_id=False)


def http_application(settings: ServeSettings, engine: serve.Application) -> serve.Application:
    """The deployment before the engine's."""
    deployment = serve.deployment(
        HttpReplica,
        name=NAME,
        num_replicas=settings.http.replicas,
        max_ongoing_requests=(1 + IN_LINE) * settings.limits.concurrent + QUICK_REQUESTS,
        ray_actor_options={
            "num_cpus": CPUS,
            "runtime_env": {"env_vars": allocator.GIVING_BACK_ENVIRONMENT},
        },
        **WATCHED,
    )
    return deployment.bind(settings.model_dump(mode="json"), engine)
