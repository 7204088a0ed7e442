"""Which implementation of the operators the blocks of a network run."""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import nn

from amir.config.section import Kernels
from amir.errors import InputError
from amir.models import operators
from amir.models.layers import GDFN, MDTA


def choose_kernels(network: nn.Module, kernels: Kernels) -> None:
    """From here on the blocks of the network run these; the results agree up to rounding.

    InputError("invalid_setting") for Triton where it cannot run.
    """
    if kernels == "eager":
        gated, sums = operators.gated_depthwise, operators.attention_sums
    else:
        check_triton()
        from amir.models.kernels.attention_sums import attention_sums
        from amir.models.kernels.gated_depthwise import gated_depthwise

        gated, sums = gated_depthwise, attention_sums
    for module in network.modules():
        if isinstance(module, GDFN):
            module.gated_depthwise = gated
        elif isinstance(module, MDTA):
            module.attention_sums = sums


def check_triton() -> None:
    if importlib.util.find_spec("triton") is None:
        raise InputError(
            "invalid_setting",
            "kernels triton: Triton is not installed; it comes with torch's CUDA build. Choose "
            "kernels eager",
        )
    if not (torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"):
        raise InputError(
            "invalid_setting", "kernels triton: there is no GPU here; choose kernels eager"
        )
