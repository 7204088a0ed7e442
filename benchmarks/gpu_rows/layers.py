"""Where the time of a forward goes: by kind of layer, and by kernel."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from amir.models.layers import GDFN, MDTA, Downsample, Upsample
from amir.models.routing import PublishedChannelRouting, SpatialRouting
from benchmarks.gpu_rows.place import Place
from benchmarks.gpu_rows.table import Row
from benchmarks.gpu_rows.variants import Pair, Variant, built

KINDS: dict[str, type[nn.Module]] = {
    "layer norm": nn.LayerNorm,
    "MDTA without its norm": MDTA,
    "GDFN without its norm": GDFN,
    "spatial routing": SpatialRouting,
    "channel routing": PublishedChannelRouting,
    "down": Downsample,
    "up": Upsample,
}
KERNELS = 15


def layer_rows(pair: Pair, variant: Variant, place: Place, batch: int, size: int) -> Iterator[Row]:
    """Milliseconds of a forward by kind of layer, with a wait around each: their sum is more than
    a forward takes, their shares tell where to look.
    """
    images = torch.rand(batch, 1, size, size, device=place.device)
    spent: dict[str, float] = defaultdict(float)
    with built(variant, pair.ours, place) as network, torch.inference_mode():
        network.eval()
        network(images)
        for name, kind in KINDS.items():
            for module in network.modules():
                if isinstance(module, kind):
                    _watch(module, name, spent, place)
        total = place.time(lambda: network(images), 1) * 1e3
    for name in ("MDTA without its norm", "GDFN without its norm"):
        spent[name] -= spent["layer norm"] / 2
    spent["the rest"] = total - sum(spent.values())
    for name, milliseconds in spent.items():
        yield {
            "variant": variant.name,
            "layer": name,
            "ms": milliseconds,
            "share": milliseconds / total,
        }


def kernel_rows(pair: Pair, variant: Variant, place: Place, batch: int, size: int) -> Iterator[Row]:
    """The kernels that a forward spends most in."""
    images = torch.rand(batch, 1, size, size, device=place.device)
    activity = ProfilerActivity.CUDA if place.is_gpu else ProfilerActivity.CPU
    with built(variant, pair.ours, place) as network, torch.inference_mode():
        network.eval()
        network(images)
        with profile(activities=[activity]) as found:
            network(images)
            place.wait()
    spent = {
        event.key: (_microseconds(event, place), event.count) for event in found.key_averages()
    }
    total = sum(taken for taken, _ in spent.values())
    for key, (taken, count) in sorted(spent.items(), key=lambda item: -item[1][0])[:KERNELS]:
        yield {
            "variant": variant.name,
            "kernel": key.replace("|", " ")[:70],
            "calls": count,
            "ms": taken / 1e3,
            "share": taken / max(total, 1e-9),
        }


def _watch(module: nn.Module, name: str, spent: dict[str, float], place: Place) -> None:
    started: list[float] = []

    def begin(_: nn.Module, inputs: Any) -> None:
        place.wait()
        started.append(time.perf_counter())

    def end(_: nn.Module, inputs: Any, output: Tensor) -> None:
        place.wait()
        spent[name] += (time.perf_counter() - started.pop()) * 1e3

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(end)


def _microseconds(event: Any, place: Place) -> float:
    return float(event.self_device_time_total if place.is_gpu else event.self_cpu_time_total)
