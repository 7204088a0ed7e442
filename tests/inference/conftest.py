"""Networks of a few thousand parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from amir.models.registry import build_model


@pytest.fixture
def tiny_amir(tiny_network: dict[str, Any]) -> Callable[[int], nn.Module]:
    """A tiny AMIR with random weights of a seed."""

    def build(seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return build_model("amir", **tiny_network).eval()

    return build
