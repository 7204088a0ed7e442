"""GET /metrics: for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from serve.admission import TheService, metrics_reader
from serve.api_documentation import problems

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
    """What this process has counted; needs a token unless the service listens on loopback."""
    service.metrics.show_models(await service.engine.models())
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
