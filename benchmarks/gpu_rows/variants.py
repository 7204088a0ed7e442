"""The ways to run the network, from the published code on, each adding to the one before."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amir.config import Precision
from amir.config.section import Kernels
from amir.models.amir import AMIR
from amir.models.compiling import compiled_twin
from amir.models.economy import choose_precision
from amir.models.kernel_choice import choose_kernels
from amir.models.published import from_published
from amir.models.routing import SpatialRouting
from benchmarks.gpu_rows.place import Place

TINY: dict[str, Any] = {"dim": 4, "heads": (1, 1, 1, 1)}
TINY_BLOCKS = (1, 1, 1, 1)


@dataclass(frozen=True)
class Variant:
    """tf32: the products that stay float32 (routing, attention) may round their factors."""

    name: str
    precision: Precision = "float32"
    dense: bool = True
    tf32: bool = False
    kernels: Kernels = "eager"
    compiled: bool = False
    graph: bool = False


BF16: dict[str, Any] = {"precision": "bfloat16"}
FAST: dict[str, Any] = {**BF16, "tf32": True}
VARIANTS = (
    Variant("float32, sorted routing", dense=False),
    Variant("dense routing"),
    Variant("bfloat16", **BF16),
    Variant("bfloat16, tf32", **FAST),
    Variant("triton", **FAST, kernels="triton"),
    Variant("compiled", **FAST, compiled=True),
    Variant("graph", **FAST, graph=True),
    Variant("triton, graph", **FAST, kernels="triton", graph=True),
    Variant("compiled, graph", **FAST, compiled=True, graph=True),
    Variant("triton, compiled, graph", **FAST, kernels="triton", compiled=True, graph=True),
)


@dataclass(frozen=True)
class Pair:
    """The same weights in both codes; published: None without a checkout of it."""

    ours: AMIR
    published: nn.Module | None


def load_pair(reference: Path | None, place: Place) -> Pair:
    settings = TINY if place.tiny else {}
    blocks = TINY_BLOCKS if place.tiny else (5, 7, 7, 9)
    refinement = 1 if place.tiny else 4
    ours = AMIR(**settings, blocks=blocks, refinement_blocks=refinement)
    if reference is None:
        return Pair(ours.to(place.device), None)
    published = published_network(reference)(
        **settings, num_blocks=list(blocks), num_refinement_blocks=refinement
    )
    ours.load_state_dict(from_published("amir", published.state_dict()))
    return Pair(ours.to(place.device), published.to(place.device))


def published_network(reference: Path) -> Callable[..., nn.Module]:
    """The class AMIR of a checkout of the published code."""
    file = reference / "model" / "Model_AMIR.py"
    place = importlib.util.spec_from_file_location("published_amir", file)
    if place is None or place.loader is None or not file.is_file():
        sys.exit(f"{reference} is no checkout of the published code: {file.name} is missing")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    found: Callable[..., nn.Module] = module.AMIR
    return found


@contextmanager
def built(variant: Variant, network: AMIR, place: Place) -> Iterator[nn.Module]:
    """A copy of the network, run as the variant says while the block runs."""
    own = copy.deepcopy(network)
    choose_precision(own, variant.precision)
    choose_kernels(own, variant.kernels)
    for module in own.modules():
        if isinstance(module, SpatialRouting):
            module.dense = variant.dense
    before = torch.get_float32_matmul_precision()
    if variant.tf32:
        torch.set_float32_matmul_precision("high")
    try:
        # A dry run compiles nothing: on a CPU it would take minutes.
        backend = "eager" if place.tiny else "inductor"
        yield compiled_twin(own, backend=backend) if variant.compiled else own
    finally:
        torch.set_float32_matmul_precision(before)


def left_out(variant: Variant, place: Place) -> str:
    """Why a variant is not run here; empty where it is."""
    if variant.kernels == "triton" and not place.is_gpu:
        return "the interpreter takes minutes; see the operators"
    return ""


def repeat(function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """In place of a CUDA graph in a dry run: called again, into new memory."""

    def again() -> None:
        function()

    return function(), again
