"""The Open Inference Protocol, version 2, as KServe's and Triton's clients speak it."""

from __future__ import annotations

import asyncio
import hashlib
from asyncio import to_thread
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel

from amir.code_version import code_version
from amir.config import LimitSettings, TensorSettings
from amir.errors import InputError
from amir.inference.slices import Engine, ModelDescription, SliceAnswer, SliceRequest
from amir.intensity import intensity_scale
from serve.body import read_body
from serve.open_inference import (
    INPUT,
    OUTPUTS,
    Inference,
    InferenceRequest,
    InferenceResponse,
    encoded,
    parse_inference,
)

JSON_LENGTH = "Inference-Header-Content-Length"
MODEL_CHANGES = 3  # so often a request starts again because its model has gone

BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": InferenceRequest.model_json_schema()},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ModelReady(Ready):
    name: str


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    digest: str


def health_v2(engine: Engine) -> APIRouter:
    """The two routes that need no token and tell nothing but whether the service works."""
    router = APIRouter(prefix="/v2/health", tags=["Open Inference Protocol"])

    @router.get("/live")
    async def live() -> Live:
        """The process answers."""
        return Live(live=True)

    @router.get("/ready", responses={503: {"model": Ready}})
    async def ready(response: Response) -> Ready:
        """All models can be asked."""
        is_ready = all(model.ready for model in await engine.models())
        response.status_code = 200 if is_ready else 503
        return Ready(ready=is_ready)

    return router


def inference_v2(engine: Engine, limits: LimitSettings, settings: TensorSettings) -> APIRouter:
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
    turns = asyncio.Semaphore(settings.at_once)
    about = ServerMetadata(name="amir", version=code_version(), extensions=["binary_tensor_data"])

    @router.get("")
    async def server() -> ServerMetadata:
        """The service and the extensions of the protocol that it knows."""
        return about

    @router.get("/models/{name}")
    @router.get("/models/{name}/versions/{version}")
    async def model(name: str, version: str = "") -> ModelMetadata:
        """A model by its alias: what it takes and gives."""
        return metadata(name, await chosen(engine, name, version))

    @router.get("/models/{name}/ready", responses={503: {"model": ModelReady}})
    @router.get("/models/{name}/versions/{version}/ready", responses={503: {"model": ModelReady}})
    async def model_ready(name: str, response: Response, version: str = "") -> ModelReady:
        """Whether a model can be asked."""
        is_ready = (await chosen(engine, name, version)).ready
        response.status_code = 200 if is_ready else 503
        return ModelReady(name=name, ready=is_ready)

    @router.post(
        "/models/{name}/infer",
        response_model=InferenceResponse,
        openapi_extra={"requestBody": BODY},
    )
    @router.post(
        "/models/{name}/versions/{version}/infer",
        response_model=InferenceResponse,
        openapi_extra={"requestBody": BODY},
    )
    async def infer(
        request: Request,
        name: str,
        version: str = "",
        json_length: Annotated[int | None, Header(alias=JSON_LENGTH, ge=0)] = None,
    ) -> Response:
        """Slices in the plane of training, restored; numbers as JSON or raw after it."""
        body = await read_body(request, settings.body_bytes)
        if (len(body) if json_length is None else json_length) > settings.json_bytes:
            message = f"the JSON has more than {settings.json_bytes} bytes; send raw numbers"
            raise InputError("too_large", message)
        async with turns:
            inference = await to_thread(
                parse_inference, body, json_length, most_voxels=limits.voxels
            )
            key = hashlib.sha256(body).hexdigest()
            return await restored(engine, inference, name, version, key)

    return router


async def chosen(engine: Engine, name: str, version: str, key: str = "") -> ModelDescription:
    """The model of an alias; version: its number in the registry or the start of its digest."""
    if not version:
        return await engine.choose(name, key=key)
    for model in await engine.models():
        if model.alias == name and version in (model.version, model.digest, model.digest[:12]):
            return await engine.choose(model.digest, key=key)
    message = "no such version of the model is served; leave the version out for the one that is"
    raise InputError("unknown_model", message)


def metadata(name: str, model: ModelDescription) -> ModelMetadata:
    shapes = {"outlier_score": [-1]}
    return ModelMetadata(
        name=name,
        versions=[version_of(model)],
        platform="amir",
        inputs=[TensorMetadata(name=INPUT, datatype="FP32", shape=[-1, -1, -1])],
        outputs=[
            TensorMetadata(name=output, datatype=datatype, shape=shapes.get(output, [-1, -1, -1]))
            for output, datatype in OUTPUTS.items()
        ],
        digest=model.digest,
    )


def version_of(model: ModelDescription) -> str:
    return model.version or model.digest[:12]


async def restored(
    engine: Engine, inference: Inference, name: str, version: str, key: str
) -> Response:
    """The answer by one model; where it is replaced and gone meanwhile, by the new one."""
    for _ in range(MODEL_CHANGES):
        model = await chosen(engine, name, version, key)
        scale = await to_thread(scale_for, inference, model)
        request = SliceRequest(
            inference.slices, inference.modality, scale, model.digest, inference.uncertainty
        )
        try:
            answer = await engine.restore(request)
        except InputError as error:
            if error.code != "unknown_model":
                raise
            continue
        return await to_thread(response_of, answer, inference, name, model, scale)
    message = f"the model was replaced {MODEL_CHANGES} times meanwhile; send it again"
    raise InputError("overloaded", message)


def scale_for(inference: Inference, model: ModelDescription) -> float:
    """The scale that the request states, else the one of its slices taken for a whole scan."""
    if inference.scale is not None:
        return inference.scale
    return intensity_scale(inference.slices, inference.modality, model.intensity)


def response_of(
    answer: SliceAnswer, inference: Inference, name: str, model: ModelDescription, scale: float
) -> Response:
    tensors: dict[str, NDArray[Any]] = {
        "restored": answer.restored.reshape(inference.shape),
        "outlier_score": answer.outlier_score,
    }
    if answer.deviation is not None:
        tensors["deviation"] = answer.deviation.reshape(inference.shape)
    told = {
        "model_name": name,
        "model_version": version_of(model),
        "parameters": {
            "model_digest": model.digest,
            "intensity_scale": scale,
            "clipped": answer.clipped,
        },
    }
    body, json_length = encoded(told, tensors, inference)
    headers = {"X-AMIR-Model": model.digest, "X-AMIR-Clipped": str(answer.clipped)}
    if json_length is None:
        return Response(body, media_type="application/json", headers=headers)
    headers[JSON_LENGTH] = str(json_length)
    return Response(body, media_type="application/octet-stream", headers=headers)
