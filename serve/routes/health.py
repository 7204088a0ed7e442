"""Is the process alive, and can it restore: for load balancers, open to all."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from serve.api_documentation import problems_alone
from serve.boundary.admission import TheService
from serve.boundary.problems import RequestError

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """Nothing but that it is so."""

    status: Literal["ok"] = "ok"


@router.get("/healthz", responses=problems_alone("internal"))
async def alive() -> Health:
    """200 while the process answers at all."""
    return Health()


@router.get("/readyz", responses=problems_alone("not_ready", "internal"))
async def ready(service: TheService) -> Health:
    """200 once the default model can restore."""
    alias = service.settings.default_model
    found = await service.engine.models()
    if not any(model.alias == alias and model.ready for model in found):
        raise RequestError("not_ready", f"no replica holds the {alias} yet; try again")
    return Health()
