"""Products of pixels with a layer's weights: torch's linear beside the operator of the blocks.

    python benchmarks/products.py [--threads 2] [--json]

GFLOP per second of CPU time, float32, forward and both gradients; what decided for oneDNN.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from measures import cpu_name
from torch import Tensor

from amir.allocator import keep_freed_memory
from amir.models.operators import pixelwise

# Side of the image, channels in and out: GDFN and MDTA of the widest and the deepest level.
SHAPES = ((128, 84, 448), (128, 84, 252), (128, 224, 84), (32, 336, 1792), (32, 896, 336))
IMAGES, CALLS = 2, 7


def rate(call: Callable[[], object], operations: float) -> float:
    """Of the fastest of some calls."""
    seconds = []
    for _ in range(CALLS):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return operations / min(seconds) / 1e9


def rates(product: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, int, int]) -> list[float]:
    """Of the product, of the gradient of the pixels, of the gradient of the weights."""
    side, inputs, outputs = shape
    x = torch.rand(IMAGES, side, side, inputs)
    weight, gradient = torch.rand(outputs, inputs), torch.rand(IMAGES, side, side, outputs)
    operations = 2.0 * x.numel() * outputs
    found = [rate(lambda: product(x, weight), operations)]
    for wanted, other in ((x, weight), (weight, x)):
        result = product(x.requires_grad_(wanted is x), weight.requires_grad_(other is x))
        backward = partial(torch.autograd.grad, result, wanted, gradient, retain_graph=True)
        found.append(rate(backward, operations))
        x.requires_grad_(False)
        weight.requires_grad_(False)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(chosen.threads)
    facts = {}
    print(f"{cpu_name()}, {os.cpu_count()} cores, GFLOP per CPU second, linear / pixelwise")
    print("| side, channels | product | gradient of pixels | of weights |\n|---|---:|---:|---:|")
    for shape in SHAPES:
        theirs, ours = rates(F.linear, shape), rates(pixelwise, shape)
        pairs = [f"{a:.0f} / {b:.0f}" for a, b in zip(theirs, ours, strict=True)]
        name = f"{shape[0]}, {shape[1]} to {shape[2]}"
        print(f"| {name} | {' | '.join(pairs)} |")
        facts[name] = {"linear": theirs, "pixelwise": ours}
    if chosen.json:
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
