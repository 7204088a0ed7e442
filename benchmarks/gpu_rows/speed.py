"""Forwards and training steps beside the published code's, and how both grow with the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from amir.config import OptimizerSettings
from amir.models.amir import AMIR
from amir.models.cuda_graphs import GraphByShape, cuda_graph
from amir.models.layers import TransformerBlock
from amir.training.graphs import GraphedGradients
from amir.training.optimizer import build_optimizers
from amir.training.step import Objective, find_gradients, seed_step, to_crops, train_step
from benchmarks.gpu_rows.place import Place
from benchmarks.gpu_rows.table import Row, tried
from benchmarks.gpu_rows.variants import Pair, Variant, built, left_out, repeat

BALANCE_WEIGHT = 0.001
LEAST_PASSES = 5  # of C values per pixel: reads and writes of a block, were everything fused


@dataclass(frozen=True)
class Rates:
    """Of this card, as measured: what large copies (GB/s) and bfloat16 products (TFLOP/s) reach."""

    copy: float
    matmul: float


@dataclass(frozen=True)
class Work:
    """What an image takes at least. operations: of a forward. elements: read and written."""

    operations: float
    elements: float

    @classmethod
    def of(cls, network: AMIR, height: int, width: int) -> Work:
        elements = 0

        def count(block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            nonlocal elements
            elements += LEAST_PASSES * inputs[0].numel()

        blocks = [m for m in network.modules() if isinstance(m, TransformerBlock)]
        hooks = [block.register_forward_pre_hook(count) for block in blocks]
        image = torch.rand(1, 1, height, width, device=network.embed.weight.device)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(image)
        for hook in hooks:
            hook.remove()
        return cls(float(counter.get_total_flops()), float(elements))


def inference_rows(
    pair: Pair, variants: list[Variant], place: Place, rates: Rates, batches: list[int], size: int
) -> Iterator[Row]:
    """Milliseconds a slice; the host's copies are not in them (see `engine_rows`)."""
    work = Work.of(pair.ours, size, size)
    for batch in batches:
        images = torch.rand(batch, 1, size, size, device=place.device)
        theirs = None if pair.published is None else _forward(pair.published, images)
        for variant in variants:
            rows: list[Row] = []
            known: Row = {"batch": batch, "variant": variant.name}

            def measure(
                variant: Variant = variant,
                images: Tensor = images,
                theirs: Callable[[], object] | None = theirs,
                batch: int = batch,
            ) -> Row:
                with built(variant, pair.ours, place) as network:
                    ours = _forward(network, images, graph=variant.graph, place=place)
                    return _row(place, rates, ours, theirs, work, batch, variant.precision, 1)

            _try(rows, known, variant, place, measure)
            yield from rows
        if theirs is not None:
            yield from _published(place, rates, theirs, work, batch, 1)


def training_rows(
    pair: Pair, variants: list[Variant], place: Place, rates: Rates, batches: list[int], crop: int
) -> Iterator[Row]:
    """Milliseconds a step as the loops make it: copies to the device, forward, backward, update."""
    work = Work.of(pair.ours, crop, crop)
    for batch in batches:
        theirs = None if pair.published is None else _published_step(pair.published, batch, crop)
        for variant in variants:
            rows: list[Row] = []
            known: Row = {"batch": batch, "variant": variant.name}

            def measure(
                variant: Variant = variant,
                batch: int = batch,
                theirs: Callable[[], object] | None = theirs,
            ) -> Row:
                with built(variant, pair.ours, place) as network:
                    ours = _step(network, batch, crop, graph=variant.graph, place=place)
                    return _row(place, rates, ours, theirs, work, batch, variant.precision, 3)

            _try(rows, known, variant, place, measure)
            yield from rows
        if theirs is not None:
            yield from _published(place, rates, theirs, work, batch, 3)


def _row(
    place: Place,
    rates: Rates,
    ours: Callable[[], object],
    theirs: Callable[[], object] | None,
    work: Work,
    batch: int,
    precision: str,
    passes: int,
) -> Row:
    """passes: over the network, in operations and bytes: a backward counts as two forwards."""
    found = place.beside(ours, theirs)
    unit = batch if passes == 1 else 1
    images = batch / unit * passes
    seconds = found.ours / unit
    width = 2 if precision == "bfloat16" else 4
    return {
        "ms": seconds * 1e3,
        "published ms": found.theirs / unit * 1e3,
        "ratio": found.ratio,
        "spread": found.spread,
        "faster": 1 / found.ratio,
        "peak GiB": place.peak(ours),
        "launches": place.launches(ours),
        "host waits": place.host_waits(ours),
        "of matmul rate": work.operations * images / seconds / 1e12 / rates.matmul,
        "of copy rate": work.elements * width * images / seconds / 1e9 / rates.copy,
    }


def _published(
    place: Place,
    rates: Rates,
    call: Callable[[], object],
    work: Work,
    batch: int,
    passes: int,
) -> Iterator[Row]:
    rows: list[Row] = []
    known: Row = {"batch": batch, "variant": "published"}
    tried(rows, known, lambda: _row(place, rates, call, None, work, batch, "float32", passes))
    place.forget()
    yield from rows


def _try(
    rows: list[Row], known: Row, variant: Variant, place: Place, measure: Callable[[], Row]
) -> None:
    if reason := left_out(variant, place):
        rows.append(known | {"failed": f"left out: {reason}"})
    else:
        tried(rows, known, measure)
    place.forget()


def _forward(
    network: nn.Module, images: Tensor, *, graph: bool = False, place: Place | None = None
) -> Callable[[], object]:
    network.eval()
    record = cuda_graph if place is None or place.is_gpu else repeat
    call: Any = GraphByShape(network, record=record) if graph else network

    @torch.inference_mode()
    def forward() -> object:
        return call(images)

    return forward


def _step(
    network: nn.Module, batch: int, crop: int, *, graph: bool, place: Place
) -> Callable[[], object]:
    network.train()
    optimizers, arrays = build_optimizers(network, OptimizerSettings()), _arrays(batch, crop)
    record = cuda_graph if place.is_gpu else repeat
    gradients = GraphedGradients(record) if graph else find_gradients

    def step() -> object:
        seed_step(0, 0, 0)
        crops = to_crops(arrays, place.device)
        return train_step(
            network, crops, optimizers, Objective(BALANCE_WEIGHT), gradients=gradients
        )

    return step


def _published_step(network: nn.Module, batch: int, crop: int) -> Callable[[], object]:
    """As the published script makes it, its loss read and the cache emptied each time."""
    network.train()
    adam = torch.optim.Adam(network.parameters(), lr=2e-4)
    arrays = _arrays(batch, crop)
    device = next(network.parameters()).device

    def step() -> object:
        degraded, target = (
            torch.from_numpy(arrays[name])[:, None].to(device) for name in ("degraded", "target")
        )
        adam.zero_grad()
        restored, balance = network(degraded)
        loss = (restored - target).abs().mean() + BALANCE_WEIGHT * balance.sum()
        loss.backward()
        adam.step()
        loss.item()
        torch.cuda.empty_cache()
        return loss

    return step


def _arrays(batch: int, crop: int) -> Any:
    """A batch as the feed delivers it."""
    images = np.random.default_rng(0).random((2, batch, crop, crop), dtype=np.float32)
    return {
        "degraded": images[0],
        "target": images[1],
        "valid": np.ones((batch, crop, crop), bool),
        "modality": np.array(["MRI", "CT", "PET"] * batch)[:batch],
    }
