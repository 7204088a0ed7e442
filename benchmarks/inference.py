"""A restored slice: our time beside the published code's, errors, and where the time is.

    python benchmarks/inference.py --reference CHECKOUT --size 256x256 --batch 1 [--dtype bfloat16]
    python benchmarks/inference.py --reference CHECKOUT --layer encoder.0.0.attention
    python benchmarks/inference.py --layers
    python benchmarks/inference.py --dtype bfloat16 --data DATASET --model CHECKPOINT

CHECKOUT: of Yaziwel/All-In-One-Medical-Image-Restoration-via-Task-Adaptive-Routing; without one,
ours alone. Each code runs in a process of its own, in turn; ours keeps freed memory as the jobs and
the service do, and a second time does not. With --data, PSNR of real slices in both precisions.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from beside_published import options, run, shares, work_of
from network_work import our_network
from torch import nn

from amir.dataset.manifest import read_manifest
from amir.dataset.slices import spread_slices
from amir.inference.restorer import Restorer
from amir.modality import Modality
from amir.models.economy import choose_precision
from amir.models.layers import GDFN, MDTA, Downsample, Upsample
from amir.references import find_model
from amir.training.validation import validate

KINDS = {MDTA: "attention", GDFN: "feed-forward", Downsample: "down", Upsample: "up"}


def main() -> None:
    parser = options(__doc__.splitlines()[0], size=(256, 256), batch=1)
    parser.add_argument("--data", type=Path, help="dataset folder, for PSNR on its slices")
    parser.add_argument("--model", help="reference of a trained model, for PSNR")
    parser.add_argument("--storage", type=Path, default=Path("storage"))
    parser.add_argument("--slices", type=int, default=4, help="per task, for PSNR")
    chosen = parser.parse_args()
    if chosen.layers:
        print(shares(sorted(_times(chosen).items(), key=lambda row: -row[1])))
        return
    run(chosen, "inference", _psnr(chosen) if chosen.data else None)


def _times(chosen: argparse.Namespace) -> dict[str, float]:
    """Seconds of the second of two passes, by kind of layer and stage."""
    torch.set_num_threads(chosen.threads)
    work = work_of(chosen, "inference")
    network = our_network(None, tiny=work.tiny).eval()
    choose_precision(network, chosen.dtype)
    spent: dict[str, float] = defaultdict(float)
    begun: dict[nn.Module, float] = {}

    def watch(name: str, module: nn.Module) -> None:
        def begin(*_: Any) -> None:
            begun[module] = time.perf_counter()

        def end(*_: Any) -> None:
            spent[name] += time.perf_counter() - begun[module]

        module.register_forward_pre_hook(begin)
        module.register_forward_hook(end)

    for path, module in network.named_modules():
        kind = KINDS.get(type(module))
        if kind in ("attention", "feed-forward"):
            watch(f"{path.rsplit('.', 2)[0]} {kind}", module)
        elif (
            kind or (path.count("_routing") == 1 and path.count(".") <= 1) or path == "instruction"
        ):
            watch(path, module)
    degraded = torch.rand(work.batch, 1, *work.size)
    with torch.inference_mode():
        network(degraded)
        spent.clear()
        start = time.perf_counter()
        network(degraded)
        whole = time.perf_counter() - start
    outer = {name for name, module in network.named_children() if isinstance(module, nn.ModuleList)}
    found = {name: value for name, value in spent.items() if name not in outer}
    return found | {"the rest": whole - sum(found.values())}


def _psnr(chosen: argparse.Namespace) -> dict[str, float]:
    """Mean PSNR of restored slices in both precisions, per task; weights of the seed if none."""
    manifest = read_manifest(chosen.data)
    network = our_network(None).eval()
    if chosen.model:
        network = find_model(chosen.model, storage=chosen.storage).network()
    restorer = Restorer(network, intensity=manifest.intensity)
    pairs = [
        pair
        for task in Modality
        for pair in spread_slices(chosen.data, manifest, "validation", task, chosen.slices)
    ]
    scores = {}
    for precision in ("float32", "bfloat16"):
        choose_precision(network, precision)  # type: ignore[arg-type]
        scores[precision] = validate(restorer, pairs)
    facts = {}
    for task, exact in scores["float32"].items():
        rounded = scores["bfloat16"][task]
        facts[f"psnr_{task}"] = exact.psnr
        facts[f"psnr_lost_{task}"] = exact.psnr - rounded.psnr
        print(f"{task}: {exact.psnr:.4f} dB in float32, {rounded.psnr:.4f} dB in bfloat16")
    return facts


if __name__ == "__main__":
    main()
