"""What a route asks for before it does anything: a token, a turn, a place, a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serve.boundary.problems import RequestError
from serve.service import Service

_bearer = HTTPBearer(auto_error=False, description="A token of the service's tokens file.")
_Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


def token_owner(service: TheService, bearer: _Bearer, request: Request) -> str:
    """The name of the request's token, "" where none is needed; its turn is taken."""
    owner = service.tokens.owner(bearer.credentials) if bearer else None
    if owner is None and service.settings.tokens.required:
        raise RequestError(
            "unauthorized",
            "the request has no valid token; send the header Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )
    request.state.owner = owner or ""
    service.rate.take(owner or "")
    return owner or ""


Owner = Annotated[str, Depends(token_owner)]


async def a_place(service: TheService, owner: Owner) -> AsyncIterator[None]:
    """One of the requests that are worked on at once, until it is answered."""
    async with service.places.place():
        yield


async def a_desk(service: TheService, owner: Owner) -> AsyncIterator[Path]:
    """An empty folder until the request is answered, or its client gone."""
    with service.workplace.desk() as folder:
        yield folder


APlace = Depends(a_place)
Desk = Annotated[Path, Depends(a_desk)]


def metrics_reader(service: TheService, bearer: _Bearer, request: Request) -> None:
    """Whoever has a token; anybody where only this machine can ask."""
    if not service.settings.http.is_loopback:
        token_owner(service, bearer, request)
