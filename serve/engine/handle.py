"""The engine as the ingress sees it: replicas behind a handle, of which any may die at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle

from amir.errors import InputError
from amir.inference.engine.slices import (
    ModelDescription,
    OverloadedError,
    SliceAnswer,
    SliceRequest,
)

LOST = (RayActorError, ReplicaUnavailableError)
PAUSES = (
    0.05,
    0.25,
    1.0,
    2.0,
    4.0,
)  # seconds before each further try; a replica needs some to start


class ServeEngine:
    """An `Engine`. A call whose replica died is sent to another: restoring twice does no harm."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def choose(self, reference: str, *, key: str = "") -> ModelDescription:
        chosen: ModelDescription = await self._call("choose", reference, key)
        return chosen

    async def models(self) -> Sequence[ModelDescription]:
        listed: Sequence[ModelDescription] = await self._call("models")
        return listed

    async def restore(self, request: SliceRequest) -> SliceAnswer:
        answer: SliceAnswer = await self._call("restore", request)
        return answer

    async def _call(self, method: str, *arguments: Any) -> Any:
        for pause in PAUSES:
            try:
                return await self._once(method, *arguments)
            except LOST:
                await asyncio.sleep(pause)
        try:
            return await self._once(method, *arguments)
        except LOST as error:
            raise OverloadedError(
                f"the replicas of the engine keep dying ({type(error).__name__}); send the request "
                "again later",
                retry_after_seconds=5,
            ) from None

    async def _once(self, method: str, *arguments: Any) -> Any:
        response = getattr(self._handle, method).remote(*arguments)
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()  # its slices leave the replica's queue
            raise
        except BackPressureError as error:
            raise OverloadedError(f"too many requests are waiting: {error}", 2) from None
        except DeploymentUnavailableError as error:
            raise OverloadedError(f"the engine has no replica that works: {error}", 10) from None
        except RayTaskError as error:
            # Ray's error is of both types; what crosses to HTTP is the refusal alone.
            if isinstance(error.cause, InputError):
                raise error.cause from None
            raise
