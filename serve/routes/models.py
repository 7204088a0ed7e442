"""GET /v1/models: what requests may ask for."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from serve.api_documentation import problems
from serve.boundary.admission import Owner, TheService

router = APIRouter(tags=["models"])


class Model(BaseModel):
    """A model that the service has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    alias: str
    """What ?model= may say; empty for one that was replaced and is kept for work under way."""
    digest: str
    """sha256 of weights and restoring settings; ?model= takes its first 12 digits or more."""
    reference: str
    version: str
    """Number in the registry; empty outside of one."""
    network: str
    parameters: int
    precision: str
    ready: bool
    problem: str
    """Why the newest version behind the alias is not the one that is served; else empty."""


class Models(BaseModel):
    """All models, those with an alias first."""

    models: list[Model]


@router.get("/v1/models", responses=problems("not_ready"))
async def models(service: TheService, owner: Owner) -> Models:
    """The models that requests may name, and those kept for series under way."""
    found = await service.engine.models()
    return Models(models=[Model.model_validate(one, from_attributes=True) for one in found])
