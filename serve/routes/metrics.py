"""GET /metrics: for Prometheus."""

from __future__ import annotations

from asyncio import to_thread

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from serve.api_documentation import problems
from serve.boundary.admission import TheService, metrics_reader

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **problems(),
    },
    dependencies=[Depends(metrics_reader)],
)
async def metrics(service: TheService) -> Response:
    """What all replicas have counted; needs a token unless the service listens on loopback."""
    service.metrics.show_models(await service.engine.models())
    text = await to_thread(service.shared_metrics.text)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
