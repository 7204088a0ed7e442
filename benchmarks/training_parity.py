"""Training steps beside the published code: same weights, batches and noise.

    python benchmarks/training_parity.py --reference CHECKOUT --data DATASET

CHECKOUT: of Yaziwel/All-In-One-Medical-Image-Restoration-via-Task-Adaptive-Routing. DATASET: as
jobs/prepare_dataset.py or jobs/demo.py makes it. Two questions: do we make the published step from
where the published code stands (every step from its weights and Adam state), and run freely, do the
curves part faster than those of the published code with one and with two threads? Leaves with 0
where the answers are yes and no.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from amir.dataset.manifest import read_manifest
from amir.dataset.plan import Plan
from amir.dataset.reader import Reader, build_index
from amir.losses import restoration_loss
from amir.modality import Modality
from amir.models.amir import AMIR
from amir.models.published import from_published
from amir.training.step import Crops, to_crops

NETWORK: dict[str, Any] = {"dim": 16, "heads": (1, 2, 4, 8)}
BALANCE_WEIGHT, LEARNING_RATE = 0.001, 2e-4
MOST_LOSS, MOST_UPDATE = 1e-5, 1e-4  # relative
CLEAR_OF_ZERO = 1e-6  # of an intensity in 0..1
SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass
class Side:
    """One of the two codes: a network and its Adam."""

    model: nn.Module
    adam: torch.optim.Adam
    error: Tensor = field(default_factory=lambda: torch.empty(0))

    @classmethod
    def of(cls, model: nn.Module) -> Side:
        return cls(model.train(), torch.optim.Adam(model.parameters(), lr=LEARNING_RATE))

    def step(self, crops: Crops, seed: int) -> float:
        """One update; its loss. Leaves the errors of the pixels in `error`."""
        torch.manual_seed(seed)
        self.adam.zero_grad()
        answer = self.model(crops.degraded)
        if isinstance(self.model, AMIR):
            total = restoration_loss(answer, crops.target, balance_weight=BALANCE_WEIGHT).total
            image = answer.image
        else:
            image, balance = answer
            total = (image - crops.target).abs().mean() + BALANCE_WEIGHT * balance.squeeze()
        self.error = (image - crops.target).detach()
        total.backward()
        self.adam.step()
        return total.item()

    def weights(self) -> dict[str, Tensor]:
        """Parameters by our names."""
        return self._ours({n: p.detach() for n, p in self.model.named_parameters()})

    def moments(self, which: str) -> dict[str, Tensor]:
        state = self.adam.state
        return self._ours({n: state[p][which] for n, p in self.model.named_parameters()})

    def take_up(self, other: Side, steps: int) -> None:
        """Stand where the other stands after so many steps."""
        weights = other.weights()
        moments = {k: other.moments(k) for k in ("exp_avg", "exp_avg_sq")} if steps else {}
        for name, parameter in self.model.named_parameters():
            parameter.data.copy_(weights[name])
            if steps:
                own = {key: named[name].clone() for key, named in moments.items()}
                self.adam.state[parameter] = {"step": torch.tensor(float(steps)), **own}

    def _ours(self, named: dict[str, Tensor]) -> dict[str, Tensor]:
        copied = {name: tensor.clone() for name, tensor in named.items()}
        return copied if isinstance(self.model, AMIR) else from_published("amir", copied)


def published(reference: Path, seed: int, weights: Path | None = None) -> Side:
    """A new network of the published code, its weights drawn from the seed or those of a file."""
    place = importlib.util.spec_from_file_location(
        "published_amir", reference / "model" / "Model_AMIR.py"
    )
    if place is None or place.loader is None or not Path(str(place.origin)).is_file():
        sys.exit(
            f"{reference} is no checkout of the published code: model/Model_AMIR.py is missing"
        )
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    torch.manual_seed(seed)
    settings = {"num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1}
    network = module.AMIR(**NETWORK, **settings)
    if weights is not None:
        network.load_state_dict(load_file(weights))
    return Side.of(network)


def ours() -> Side:
    return Side.of(AMIR(**NETWORK, blocks=(1, 1, 1, 1), refinement_blocks=1))


def batches(data: Path, steps: int, seed: int) -> list[Crops]:
    """Crops as the trainer takes them."""
    index = build_index(read_manifest(data), "train", tuple(Modality))
    reader = Reader(data, Plan(index, seed, batch=2), crop=64)
    return [to_crops(batch, torch.device("cpu")) for batch in reader.batches(0, steps)]


@dataclass
class Steps:
    """Largest relative differences of a loss and of an update, each step from the same start.

    sides: the largest of an update with the published side of every jump of the gradient. jumps:
    the steps in which a pixel lay on another side, as lines.
    """

    loss: float = 0.0
    update: float = 0.0
    sides: float = 0.0
    jumps: list[str] = field(default_factory=list)

    def add(self, other: Steps) -> None:
        self.loss, self.update = max(self.loss, other.loss), max(self.update, other.update)
        self.sides = max(self.sides, other.sides)
        self.jumps += other.jumps


def step_by_step(theirs: Side, crops: Sequence[Crops], seed: int) -> Steps:
    mine = ours()
    found = Steps()
    for number, batch in enumerate(crops):
        before = theirs.weights()
        mine.take_up(theirs, number)
        start = copy.deepcopy(mine)
        loss, expected = mine.step(batch, seed + number), theirs.step(batch, seed + number)
        after = theirs.weights()
        update = sides = _distance(mine.weights(), after, before)
        other = mine.error.sign() != theirs.error.sign()
        if other.any():
            start.step(from_their_side(batch, mine.error, theirs.error, other), seed + number)
            sides = _distance(start.weights(), after, before)
            found.jumps.append(
                f"seed {seed}, step {number + 1}: {int(other.sum())} of {other.numel()} pixels, "
                f"whose error is at most {mine.error[other].abs().max():.1e}, ours; "
                f"update off by {update:.1e}, from the published side {sides:.1e}"
            )
        found.add(Steps(abs(loss / expected - 1), update, sides))
    return found


def from_their_side(batch: Crops, mine: Tensor, theirs: Tensor, other: Tensor) -> Crops:
    """The batch with the targets of those pixels moved so that our errors have their sign."""
    moved = batch.target + mine - theirs.sign() * CLEAR_OF_ZERO
    return batch._replace(target=torch.where(other, moved, batch.target))


def curve(
    side: Side, crops: Sequence[Crops], seed: int, *, threads: int = 1, onednn: bool = True
) -> list[float]:
    torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=onednn):
        losses = [side.step(batch, seed + number) for number, batch in enumerate(crops)]
    torch.set_num_threads(1)
    return losses


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    apart: list[tuple[float, ...]] = []
    worst = Steps()
    for seed in range(options.seeds):
        crops = batches(options.data, options.steps, seed)
        start = partial(published, options.reference, seed, options.weights)
        worst.add(step_by_step(start(), crops, seed))
        mine = ours()
        mine.take_up(start(), 0)
        theirs = curve(start(), crops, seed)
        others = [curve(mine, crops, seed), curve(start(), crops, seed, threads=2)]
        if options.without_onednn:
            others.append(curve(start(), crops, seed, onednn=False))
        _show(seed, theirs, others)
        apart.append(tuple(_furthest(other, theirs) for other in others))
    _judge(worst, apart, options.steps)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--weights", type=Path, help="safetensors of the published code to start from"
    )
    parser.add_argument(
        "--without-onednn", action="store_true", help="a third published curve; minutes a seed"
    )
    return parser.parse_args()


def _distance(a: dict[str, Tensor], b: dict[str, Tensor], origin: dict[str, Tensor]) -> float:
    """Of two updates from one origin, relative to the second."""
    off = sum((a[name] - b[name]).double().square().sum() for name in b)
    length = sum((b[name] - origin[name]).double().square().sum() for name in b)
    return float((off / length) ** 0.5)


def _furthest(curve: Sequence[float], other: Sequence[float]) -> float:
    return float(np.abs(np.array(curve) / np.array(other) - 1).max())


def _show(seed: int, theirs: Sequence[float], others: Sequence[Sequence[float]]) -> None:
    print(f"\nseed {seed}: loss run freely, and how far others are from it")
    names = ("published, 1 thread", "ours", "published, 2 threads", "published, no oneDNN")
    print("| step | " + " | ".join(names[: 1 + len(others)]) + " |")
    print("|---:" * (2 + len(others)) + "|")
    for step in (n for n in SHOWN if n <= len(theirs)):
        one = theirs[step - 1]
        off = " | ".join(f"{abs(other[step - 1] / one - 1):.1e}" for other in others)
        print(f"| {step} | {one:.6f} | {off} |")


def _judge(worst: Steps, apart: Sequence[tuple[float, ...]], steps: int) -> None:
    mine, theirs, *otherwise = np.median(apart, axis=0)
    print(f"\nevery one of {steps} steps from the published state, over {len(apart)} seeds:")
    print(f"  loss   off by at most {worst.loss:.1e} relative (goal {MOST_LOSS:.0e})")
    print(
        f"  update off by at most {worst.sides:.1e} relative (goal {MOST_UPDATE:.0e}); "
        f"{worst.update:.1e} with our own side of every jump"
    )
    print(f"  steps with pixels on the other side of zero: {len(worst.jumps)}")
    for line in worst.jumps:
        print(f"    {line}")
    print(
        f"run freely, furthest apart, median over the seeds: ours {mine:.1e}, the published code "
        f"with two threads {theirs:.1e}" + "".join(f", without oneDNN {x:.1e}" for x in otherwise)
    )
    holds = worst.loss <= MOST_LOSS and worst.sides <= MOST_UPDATE and mine <= theirs
    facts = {"loss": worst.loss, "update": worst.sides, "update_own_sides": worst.update}
    facts |= {"ours": float(mine), "published": float(theirs)}
    facts |= zip(("published_without_onednn",), map(float, otherwise), strict=False)
    print(json.dumps({"holds": bool(holds), **facts}))
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
