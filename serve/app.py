"""The service as a Ray Serve application: HTTP replicas before the engine's.

`serve run serve.app:build_app`, or serve/deployment.yaml; its args are the settings of
`amir.config.ServeSettings`.
"""

# Annotations stay what they are: Ray reads that of build_app's argument when it is called.

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from amir.config import ServeSettings
from serve.engine.deployment import engine_application
from serve.engine.handle import ServeEngine
from serve.http_app import create_app
from serve.proxy import LOGGING

NAME = "http"
# Beside restorations, which `limits.concurrent` bounds with an answer that says so: what is quick.
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


def build_app(settings: ServeSettings) -> serve.Application:
    """The application to `serve.run`, or to name in a Serve config file."""
    deployment = serve.deployment(
        HttpReplica,
        name=NAME,
        num_replicas=settings.http.replicas,
        max_ongoing_requests=settings.limits.concurrent + QUICK_REQUESTS,
        ray_actor_options={"num_cpus": CPUS},
        health_check_period_s=5,
        health_check_timeout_s=15,
        graceful_shutdown_timeout_s=30,
        logging_config=LOGGING,
    )
    return deployment.bind(settings.model_dump(mode="json"), engine_application(settings))
