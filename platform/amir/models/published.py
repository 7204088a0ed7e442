"""Weights of the published codes, renamed to this project's networks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from amir.errors import InputError
from amir.models.amir import AMIR

# The published buffers mean and std of the gate noise are the constants 0 and 1.
_AMIR_IGNORED = re.compile(r"spatial_routing_encoder_level\d\.moe\.(mean|std)")

# Applied in order to every key; levels count from 1 there, from 0 here.
_AMIR_RENAMES = (
    (r"^patch_embed\.proj\.", "embed."),
    (r"^dict_generator\.CondNet\.", "instruction.condition."),
    (r"^dict_generator\.lastOut\.", "instruction.to_logits."),
    (r"^dict_generator\.", "instruction."),
    (r"^spatial_routing_encoder_level(\d)\.fc\.", r"encoder_routing.<\1>.describe."),
    (r"^spatial_routing_encoder_level(\d)\.moe\.w_gate$", r"encoder_routing.<\1>.router.to_logits"),
    (r"^spatial_routing_encoder_level(\d)\.moe\.w_noise$", r"encoder_routing.<\1>.router.to_noise"),
    (r"^spatial_routing_encoder_level(\d)\.moe\.", r"encoder_routing.<\1>."),
    (r"^channel_routing_latent\.", "latent_routing."),
    (r"^channel_routing_decoder_level(\d)\.", r"decoder_routing.<\1>."),
    (r"^(encoder|decoder)_level(\d)\.", r"\1.<\2>."),
    (r"^down(\d)_\d\.body\.0\.", r"down.<\1>.conv."),
    (r"^up\d_(\d)\.body\.0\.", r"up.<\1>.conv."),
    (r"^reduce_chan_level(\d)\.", r"merge.<\1>."),
    (r"(_routing\S*)\.fc\.", r"\1.to_factors."),
    (r"\.fc1\.", ".0."),
    (r"\.fc2\.", ".2."),
    (r"\.norm1\.body\.", ".attention.norm."),
    (r"\.norm2\.body\.", ".feed_forward.norm."),
    (r"\.attn\.qkv_dwconv\.", ".attention.depthwise."),
    (r"\.attn\.project_out\.", ".attention.project."),
    (r"\.attn\.", ".attention."),
    (r"\.ffn\.project_in\.", ".feed_forward.expand."),
    (r"\.ffn\.dwconv\.", ".feed_forward.depthwise."),
    (r"\.ffn\.project_out\.", ".feed_forward.project."),
)


def from_published(name: str, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict that this project's network loads, from the one that the published code saved.

    The network must be built with the same settings and, for AMIR, `routing="published"`.
    """
    if name != "amir":
        raise InputError(
            "invalid_setting",
            f"no published weights are known for model {name!r}; choose from amir",
        )
    renamed = {
        rename_amir_key(key): (key, weight)
        for key, weight in official.items()
        if not _AMIR_IGNORED.fullmatch(key)
    }
    expected = _expected_amir(renamed)
    _refuse_other_keys(renamed, expected)
    return {key: weight.reshape(expected[key].shape) for key, (_, weight) in renamed.items()}


def rename_amir_key(official: str) -> str:
    """This project's name of one of the published AMIR's parameters."""
    key = official
    for pattern, replacement in _AMIR_RENAMES:
        key = re.sub(pattern, replacement, key)
    return re.sub(r"<(\d)>", lambda level: str(int(level[1]) - 1), key)


Renamed = dict[str, tuple[str, Tensor]]
"""This project's key -> the published key and its weight."""


def _expected_amir(renamed: Renamed) -> dict[str, Tensor]:
    """Keys and shapes of the network whose settings the weights themselves tell."""
    with torch.device("meta"):
        return AMIR(**_amir_settings(renamed)).state_dict()


def _amir_settings(renamed: Renamed) -> dict[str, Any]:
    stacks = ["encoder.0", "encoder.1", "encoder.2", "latent"]
    return {
        "dim": _first_size(renamed, "embed.weight"),
        "blocks": [_count(renamed, stack) for stack in stacks],
        "refinement_blocks": _count(renamed, "refinement"),
        "heads": [_first_size(renamed, f"{stack}.0.attention.temperature") for stack in stacks],
        "instructions": _first_size(renamed, "instruction.dictionary"),
        "experts": _count(renamed, "encoder_routing.0.experts"),
        "top_k": 1,  # no weight depends on it
    }


def _count(renamed: Renamed, stack: str) -> int:
    """How many numbered parts a stack has, at least one."""
    numbers = (re.match(rf"{re.escape(stack)}\.(\d+)\.", key) for key in renamed)
    return max((int(number[1]) for number in numbers if number), default=0) + 1


def _first_size(renamed: Renamed, key: str) -> int:
    if key not in renamed or renamed[key][1].ndim == 0:
        raise InputError(
            "invalid_checkpoint",
            f"the published weights hold no tensor for {key!r}; is it an AMIR?",
        )
    return renamed[key][1].shape[0]


def _refuse_other_keys(renamed: Renamed, expected: Mapping[str, Tensor]) -> None:
    """Name every key that is missing, unexpected or of another shape."""
    complaints = [f"missing {key}" for key in expected if key not in renamed]
    for key, (official, weight) in renamed.items():
        if key not in expected:
            complaints.append(f"unexpected {official}")
        elif _without_ones(weight) != _without_ones(expected[key]):
            needed = tuple(expected[key].shape)
            complaints.append(f"{official} has shape {tuple(weight.shape)}, not {needed}")
    if complaints:
        raise InputError(
            "invalid_checkpoint", "the published weights do not fit: " + "; ".join(complaints)
        )


def _without_ones(weight: Tensor) -> list[int]:
    """A convolution [out, in, 1, 1] is a matrix [out, in] here, a scale [1, C, 1, 1] a vector."""
    return [size for size in weight.shape if size != 1]
