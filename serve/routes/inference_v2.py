"""/v2: the Open Inference Protocol, as KServe's and Triton's clients speak it."""

from __future__ import annotations

import hashlib
from asyncio import to_thread
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from numpy.typing import NDArray

from amir.errors import InputError
from amir.inference.engine.slices import Engine, ModelDescription, SliceAnswer, SliceRequest
from amir.intensity import intensity_scale
from serve.api_documentation import problems, problems_alone, reference
from serve.boundary.admission import APlace, Owner, TheService
from serve.boundary.body import read_body
from serve.boundary.disconnects import while_connected
from serve.boundary.log import request_id
from serve.boundary.problems import RequestError
from serve.metrics import count_tensors
from serve.open_inference.metadata import (
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
    described,
    version_of,
)
from serve.open_inference.tensors import (
    Inference,
    InferenceRequest,
    InferenceResponse,
    encoded,
    parse_inference,
)
from serve.service import Service

JSON_LENGTH = "Inference-Header-Content-Length"
MODEL_CHANGES = 3  # so often a request starts again because its model has gone
BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

Name = Annotated[str, Path(max_length=128, description="Alias of a model, such as champion.")]
Version = Annotated[
    str, Path(max_length=64, description="Its number in the registry, or 12 digits of its digest.")
]
JsonLength = Annotated[
    int | None,
    Header(alias=JSON_LENGTH, ge=0, description="Bytes of JSON, where raw numbers follow it."),
]

_MODEL = problems("unknown_model", "not_ready")
_INFERENCE: dict[str, Any] = {
    "response_model": InferenceResponse,
    "responses": {
        200: {"content": BINARY, "description": "JSON, or JSON with raw numbers after it."},
        **problems(
            *("unreadable", "unsupported", "not_finite", "wrong_modality", "too_large"),
            *("unsupported_media_type", "slow_client", "unknown_model", "overloaded"),
        ),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": reference(InferenceRequest)},
                **BINARY,
            },
        }
    },
    "dependencies": [APlace],
}


@router.get("/health/live", responses=problems_alone("internal"))
async def live() -> Live:
    """The process answers; open to all."""
    return Live(live=True)


@router.get("/health/ready", responses=problems_alone("not_ready", "internal"))
async def ready(service: TheService) -> Ready:
    """Every model can be asked; open to all."""
    if not all(model.ready for model in await service.engine.models()):
        raise RequestError("not_ready", "a model is not ready yet; try again")
    return Ready(ready=True)


@router.get("", responses=problems())
async def server(owner: Owner) -> ServerMetadata:
    """The service, and the extensions of the protocol that it knows."""
    return ServerMetadata()


@router.get("/models/{name}", responses=_MODEL)
async def model(name: Name, service: TheService, owner: Owner) -> ModelMetadata:
    """What a model takes and gives."""
    return described(name, await chosen(service.engine, name))


@router.get("/models/{name}/versions/{version}", responses=_MODEL)
async def model_version(
    name: Name, version: Version, service: TheService, owner: Owner
) -> ModelMetadata:
    """What a version of a model takes and gives."""
    return described(name, await chosen(service.engine, name, version))


@router.get("/models/{name}/ready", responses=_MODEL)
async def model_ready(name: Name, service: TheService, owner: Owner) -> ModelReady:
    """Whether a model can be asked."""
    return _ready(name, await chosen(service.engine, name))


@router.get("/models/{name}/versions/{version}/ready", responses=_MODEL)
async def model_version_ready(
    name: Name, version: Version, service: TheService, owner: Owner
) -> ModelReady:
    """Whether a version of a model can be asked."""
    return _ready(name, await chosen(service.engine, name, version))


@router.post("/models/{name}/infer", **_INFERENCE)
async def infer(
    request: Request, name: Name, service: TheService, json_length: JsonLength = None
) -> Response:
    """Slices in the plane of training, restored; numbers as JSON, or raw after it."""
    return await _inferred(request, service, name, "", json_length)


@router.post("/models/{name}/versions/{version}/infer", **_INFERENCE)
async def infer_by_version(
    request: Request,
    name: Name,
    version: Version,
    service: TheService,
    json_length: JsonLength = None,
) -> Response:
    """The same by a version of the model."""
    return await _inferred(request, service, name, version, json_length)


async def chosen(engine: Engine, name: str, version: str = "", key: str = "") -> ModelDescription:
    """The model of an alias, and of a version if one is given; InputError("unknown_model")."""
    if not version:
        return await engine.choose(name, key=key)
    for one in await engine.models():
        if one.alias == name and version in (one.version, one.digest, one.digest[:12]):
            return await engine.choose(one.digest, key=key)
    message = "no such version of the model is served; leave the version out for the one that is"
    raise InputError("unknown_model", message)


def _ready(name: str, found: ModelDescription) -> ModelReady:
    if not found.ready:
        raise RequestError("not_ready", "the model is not ready yet; try again")
    return ModelReady(name=name, ready=True)


async def _inferred(
    request: Request, service: TheService, name: str, version: str, json_length: int | None
) -> Response:
    settings = service.settings.tensors
    body = await read_body(request, settings.body_bytes)
    if (len(body) if json_length is None else json_length) > settings.json_bytes:
        message = f"the JSON has more than {settings.json_bytes} bytes; send raw numbers after it"
        raise InputError("too_large", message)
    async with service.tensor_turns:
        inference = await to_thread(
            parse_inference, body, json_length, most_voxels=service.settings.limits.voxels
        )
        key = hashlib.sha256(body).hexdigest()
        work = _restored(service, inference, name, version, key)
        return await while_connected(request, work)


async def _restored(
    service: Service, inference: Inference, name: str, version: str, key: str
) -> Response:
    """The answer by one model; where it is replaced and gone meanwhile, by the new one."""
    for _ in range(MODEL_CHANGES):
        found = await chosen(service.engine, name, version, key)
        scale = await to_thread(_scale, inference, found)
        request = SliceRequest(
            inference.slices,
            inference.modality,
            scale,
            found.digest,
            uncertainty=inference.uncertainty,
            series=request_id.get(),
        )
        try:
            answer = await service.engine.restore(request)
        except InputError as error:
            if error.code != "unknown_model":
                raise
            continue
        count_tensors(service.metrics, request, answer)
        return await to_thread(_response, answer, inference, name, found, scale)
    message = f"the model was replaced {MODEL_CHANGES} times meanwhile; send it again"
    raise InputError("overloaded", message)


def _scale(inference: Inference, found: ModelDescription) -> float:
    """The scale that the request states, else that of its slices taken for a whole scan."""
    if inference.scale is not None:
        return inference.scale
    return intensity_scale(inference.slices, inference.modality, found.intensity)


def _response(
    answer: SliceAnswer, inference: Inference, name: str, found: ModelDescription, scale: float
) -> Response:
    tensors: dict[str, NDArray[Any]] = {
        "restored": answer.restored.reshape(inference.shape),
        "outlier_score": answer.outlier_score,
    }
    if answer.deviation is not None:
        tensors["deviation"] = answer.deviation.reshape(inference.shape)
    parameters = {
        "model_digest": found.digest,
        "intensity_scale": scale,
        "clipped": answer.clipped,
    }
    told = {"model_name": name, "model_version": version_of(found), "parameters": parameters}
    body, json_length = encoded(told, tensors, inference)
    headers = {"X-AMIR-Model": found.digest, "X-AMIR-Clipped": str(answer.clipped)}
    if json_length is None:
        return Response(body, media_type="application/json", headers=headers)
    headers[JSON_LENGTH] = str(json_length)
    return Response(body, media_type="application/octet-stream", headers=headers)
