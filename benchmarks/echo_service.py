"""An application of the service's hops that gives every body back: proxy, ingress, engine."""

from __future__ import annotations

from typing import Any

import numpy as np


class Echo:
    """Behind the ingress, as the engine is."""

    async def restore(self, slices: np.ndarray) -> np.ndarray:
        return slices


class EchoIngress:
    """Body to array, through the handle, back to a body; no checks, no files."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    async def __call__(self, request: Any) -> Any:
        from starlette.responses import Response

        body = np.frombuffer(await request.body(), np.uint8)
        return Response((await self._engine.restore.remote(body)).tobytes())


def echo_application() -> Any:
    from ray import serve

    options: dict[str, Any] = {"ray_actor_options": {"num_cpus": 0.1}, "max_ongoing_requests": 100}
    engine = serve.deployment(Echo, name="echo", **options).bind()
    return serve.deployment(EchoIngress, name="ingress", **options).bind(engine)
