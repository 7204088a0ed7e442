"""What the Open Inference Protocol's other routes answer: health, and what a model is."""

from __future__ import annotations

from pydantic import BaseModel

from amir.inference.engine.slices import ModelDescription
from serve.open_inference.tensors import INPUT, OUTPUTS

_SLICES = [-1, -1, -1]
_SHAPES = {"restored": _SLICES, "deviation": _SLICES, "outlier_score": [-1]}


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ModelReady(BaseModel):
    name: str
    ready: bool


class ServerMetadata(BaseModel):
    name: str = "amir"
    version: str = "2"
    extensions: list[str] = ["binary_tensor_data"]


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str = "amir"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, str]


def described(name: str, model: ModelDescription) -> ModelMetadata:
    """name: what the request called it."""
    return ModelMetadata(
        name=name,
        versions=[version_of(model)],
        inputs=[TensorMetadata(name=INPUT, datatype="FP32", shape=_SLICES)],
        outputs=[
            TensorMetadata(name=output, datatype=datatype, shape=_SHAPES[output])
            for output, datatype in OUTPUTS.items()
        ],
        parameters={"digest": model.digest, "network": model.network},
    )


def version_of(model: ModelDescription) -> str:
    """Its number in the registry; outside of one, the first 12 digits of its digest."""
    return model.version or model.digest[:12]
