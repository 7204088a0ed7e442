"""Tensors of the Open Inference Protocol, version 2: requests in, answers out.

https://github.com/kserve/open-inference-protocol, with the binary tensor data extension of KServe
and Triton: the body begins with JSON of a stated length, and raw little-endian numbers follow, one
tensor after the other. Slices are one input, `degraded`; what comes back is `restored`, and where
asked for `deviation` and `outlier_score`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from amir.errors import InputError
from amir.modality import Modality

INPUT = "degraded"
DATATYPES = {"FP16": "<f2", "FP32": "<f4", "INT16": "<i2", "UINT16": "<u2"}
OUTPUTS = {"restored": "FP32", "deviation": "FP32", "outlier_score": "FP64"}
_OUTPUT_TYPES = {"FP32": "<f4", "FP64": "<f8"}

# Within these no product of a slice and a scale, nor a restored value, leaves float32.
SMALLEST_SCALE, LARGEST_SCALE = 1e-30, 1e30
MOST_PASSES = 3
_SHORT = 256

Parameters = dict[str, bool | int | float | str | None]
Size = Annotated[int, Field(ge=0, lt=2**31)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TensorIn(_Part):
    """One input: numbers in `data`, flat or nested, or raw after the JSON."""

    name: str
    """`degraded`"""
    shape: Annotated[list[Size], Field(max_length=8)]
    """[n, H, W] or [n, 1, H, W], slices in the plane of training"""
    datatype: str
    """FP32, FP16, INT16 or UINT16"""
    parameters: Parameters = {}
    """binary_data_size: bytes of this tensor after the JSON"""
    data: list[Any] | None = None
    """the numbers in physical units (HU, SUV, stored scale of MR), without a binary_data_size"""


class OutputAsked(_Part):
    name: str
    """restored, deviation or outlier_score"""
    parameters: Parameters = {}
    """binary_data: true for raw numbers after the JSON"""


class InferenceRequest(_Part):
    """What a client asks for; parameters besides these are passed over."""

    id: Annotated[str, Field(max_length=_SHORT)] | None = None
    """given back with the answer"""
    parameters: Parameters = {}
    """modality (MRI, CT or PET; required), intensity_scale, uncertainty, binary_data_output"""
    inputs: Annotated[list[TensorIn], Field(max_length=16)]
    outputs: Annotated[list[OutputAsked], Field(max_length=16)] | None = None


class TensorOut(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, int] | None = None
    data: list[float | None] | None = None


class InferenceResponse(BaseModel):
    """The answer's JSON; numbers that are not in `data` follow it raw."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, str | int | float]
    outputs: list[TensorOut]


@dataclass(frozen=True, eq=False)
class Inference:
    """A request that makes sense.

    slices: float32 [n, H, W], finite. shape: as it was sent, and as the answer has it.
    scale: None where the model's own setting decides. outputs: name -> whether as raw bytes.
    """

    id: str | None
    slices: NDArray[np.float32]
    shape: tuple[int, ...]
    modality: Modality
    scale: float | None
    uncertainty: int
    outputs: Mapping[str, bool]


def parse_inference(body: bytes, json_length: int | None, *, most_voxels: int) -> Inference:
    """The request that a body holds.

    json_length: of Inference-Header-Content-Length, None where all of the body is JSON.
    InputError: "unreadable" for what is no such request, "invalid_setting" for a value that no
    request may have, "unsupported" for other tensors, "not_finite" and "too_large".
    """
    if json_length is not None and not 0 <= json_length <= len(body):
        message = (
            f"Inference-Header-Content-Length is {json_length}, the body has {len(body)} bytes; "
            "state the length of its JSON"
        )
        raise InputError("unreadable", message)
    asked = _parsed(body[:json_length])
    raw = memoryview(body)[len(body) if json_length is None else json_length :]
    tensor = _only_input(asked.inputs)
    uncertainty = _whole(asked.parameters, "uncertainty", MOST_PASSES)
    return Inference(
        id=asked.id,
        slices=_slices(tensor, raw, most_voxels=most_voxels),
        shape=tuple(tensor.shape),
        modality=_modality(asked.parameters | tensor.parameters),
        scale=_scale(asked.parameters | tensor.parameters),
        uncertainty=uncertainty,
        outputs=_outputs(asked, with_deviation=uncertainty > 0),
    )


def encoded(
    answer: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], inference: Inference
) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where raw numbers follow.

    answer: what else its JSON says. tensors: by name, in the shape that the answer has; NaN, which
    JSON does not know, is null there.
    """
    described, raw = [], []
    for name, is_raw in inference.outputs.items():
        numbers = np.ascontiguousarray(tensors[name], _OUTPUT_TYPES[OUTPUTS[name]])
        entry: dict[str, Any] = {"name": name, "shape": numbers.shape, "datatype": OUTPUTS[name]}
        if is_raw:
            raw.append(numbers.tobytes())
            entry["parameters"] = {"binary_data_size": numbers.nbytes}
        else:
            entry["data"] = _json_numbers(numbers)
        described.append(entry)
    identity = {} if inference.id is None else {"id": inference.id}
    head = json.dumps({**answer, **identity, "outputs": described}, allow_nan=False).encode()
    return head + b"".join(raw), len(head) if raw else None


def _parsed(content: bytes) -> InferenceRequest:
    try:
        return InferenceRequest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        message = f"the request's JSON{' at ' + place if place else ''}: {first['msg']}"
        raise InputError("unreadable", message[:500]) from None


def _only_input(inputs: Sequence[TensorIn]) -> TensorIn:
    if [tensor.name for tensor in inputs] != [INPUT]:
        message = f"a request needs one input named {INPUT!r}, not {len(inputs)} of other names"
        raise InputError("unsupported", message)
    return inputs[0]


def _slices(tensor: TensorIn, raw: memoryview, *, most_voxels: int) -> NDArray[np.float32]:
    shape = tensor.shape
    if len(shape) not in (3, 4) or 0 in shape or (len(shape) == 4 and shape[1] != 1):
        message = f"{INPUT} has shape {shape}; send slices as [n, H, W] or [n, 1, H, W]"
        raise InputError("unsupported", message)
    if tensor.datatype not in DATATYPES:
        message = f"{INPUT} has no datatype of {', '.join(DATATYPES)}; convert it to FP32"
        raise InputError("unsupported", message)
    count = math.prod(shape)
    if count > most_voxels:
        message = f"{INPUT} has {count} voxels, the limit is {most_voxels}; send fewer slices"
        raise InputError("too_large", message)
    numbers = _from_raw(tensor, raw) if _is_raw(tensor) else _from_json(tensor, raw)
    if numbers.size != count:
        message = f"{INPUT} has {numbers.size} numbers, its shape {shape} has {count}"
        raise InputError("unreadable", message)
    with np.errstate(over="ignore"):  # refused as infinite
        slices = numbers.astype(np.float32).reshape(shape[0], *shape[-2:])
    if not np.isfinite(slices).all():
        message = f"{INPUT} holds numbers that are NaN or infinite; replace them first"
        raise InputError("not_finite", message)
    return slices


def _is_raw(tensor: TensorIn) -> bool:
    return "binary_data_size" in tensor.parameters


def _from_raw(tensor: TensorIn, raw: memoryview) -> NDArray[Any]:
    dtype, stated = np.dtype(DATATYPES[tensor.datatype]), tensor.parameters["binary_data_size"]
    if tensor.data is not None or stated != len(raw) or len(raw) % dtype.itemsize:
        message = (
            f"{INPUT}: binary_data_size is {stated!r}, {len(raw)} bytes follow the JSON and a "
            f"{tensor.datatype} takes {dtype.itemsize}; they must agree, without data beside"
        )
        raise InputError("unreadable", message[:500])
    return np.frombuffer(raw, dtype)


def _from_json(tensor: TensorIn, raw: memoryview) -> NDArray[Any]:
    if tensor.data is None or len(raw):
        message = f"{INPUT} needs its numbers in data, or binary_data_size bytes after the JSON"
        raise InputError("unreadable", message)
    try:
        numbers = np.asarray(tensor.data)
    except (ValueError, OverflowError):  # lists of different lengths or too deep, huge numbers
        numbers = np.empty(0, object)
    if numbers.dtype.kind not in "iuf":
        message = f"{INPUT}: data must be numbers alone, in one list or in lists of its shape"
        raise InputError("unreadable", message)
    if numbers.ndim != 1 and list(numbers.shape) != tensor.shape:
        message = (
            f"{INPUT}: data is nested as {list(numbers.shape)[:8]}, its shape is {tensor.shape}"
        )
        raise InputError("unreadable", message)
    return _fitting(numbers.ravel(), tensor.datatype)


def _fitting(numbers: NDArray[Any], datatype: str) -> NDArray[Any]:
    """Numbers of the tensor's type; a fraction or a value beyond it is not bent to fit."""
    dtype = np.dtype(DATATYPES[datatype])
    if dtype.kind == "f":
        return numbers
    limits = np.iinfo(dtype)
    # NaN compares as false.
    if not ((numbers >= limits.min) & (numbers <= limits.max) & (numbers % 1 == 0)).all():
        message = f"{INPUT}: data holds numbers that are no {datatype}; send FP32"
        raise InputError("unreadable", message)
    return numbers


def _modality(parameters: Parameters) -> Modality:
    said = parameters.get("modality")
    if said not in list(Modality):
        message = f"the parameter modality must say {', '.join(Modality)}"
        raise InputError("wrong_modality", message)
    return Modality(str(said))


def _scale(parameters: Parameters) -> float | None:
    said = parameters.get("intensity_scale")
    if said is None:
        return None
    is_number = isinstance(said, int | float) and not isinstance(said, bool)
    if not is_number or not SMALLEST_SCALE <= float(said) <= LARGEST_SCALE:
        message = (
            f"the parameter intensity_scale must be a number from {SMALLEST_SCALE:g} to "
            f"{LARGEST_SCALE:g}"
        )
        raise InputError("invalid_setting", message)
    return float(said)


def _whole(parameters: Parameters, name: str, most: int) -> int:
    said = parameters.get(name, 0)
    if not isinstance(said, int) or isinstance(said, bool) or not 0 <= said <= most:
        raise InputError("invalid_setting", f"the parameter {name} must be 0 to {most}")
    return said


def _outputs(asked: InferenceRequest, *, with_deviation: bool) -> dict[str, bool]:
    is_raw = asked.parameters.get("binary_data_output") is True
    offered = [name for name in OUTPUTS if name != "deviation" or with_deviation]
    if not asked.outputs:
        return dict.fromkeys(offered, is_raw)
    names = [output.name for output in asked.outputs]
    if len(set(names)) != len(names) or not set(names) <= set(offered):
        message = (
            f"outputs may name each of {', '.join(OUTPUTS)} once, deviation with the parameter "
            "uncertainty alone"
        )
        raise InputError("unsupported", message)
    return {
        output.name: output.parameters.get("binary_data", is_raw) is True
        for output in asked.outputs
    }


def _json_numbers(numbers: NDArray[Any]) -> list[float | None]:
    flat: list[float | None] = numbers.ravel().tolist()
    if np.isfinite(numbers).all():
        return flat
    return [number if number is not None and math.isfinite(number) else None for number in flat]
