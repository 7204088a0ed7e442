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
import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass
class Side:
    """One of the two codes: a network and its Adam."""

    model: nn.Module
    adam: torch.optim.Adam

    @classmethod
    def of(cls, model: nn.Module) -> Side:
        return cls(model.train(), torch.optim.Adam(model.parameters(), lr=LEARNING_RATE))

    def step(self, crops: Crops, seed: int) -> float:
        """One update; its loss."""
        torch.manual_seed(seed)
        self.adam.zero_grad()
        answer = self.model(crops.degraded)
        if isinstance(self.model, AMIR):
            total = restoration_loss(answer, crops.target, balance_weight=BALANCE_WEIGHT).total
        else:
            image, balance = answer
            total = (image - crops.target).abs().mean() + BALANCE_WEIGHT * balance.squeeze()
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


def published(reference: Path, seed: int) -> Side:
    """A new network of the published code, its weights drawn from the seed."""
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
    return Side.of(module.AMIR(**NETWORK, **settings))


def ours() -> Side:
    return Side.of(AMIR(**NETWORK, blocks=(1, 1, 1, 1), refinement_blocks=1))


def batches(data: Path, steps: int, seed: int) -> list[Crops]:
    """Crops as the trainer takes them."""
    index = build_index(read_manifest(data), "train", tuple(Modality))
    reader = Reader(data, Plan(index, seed, batch=2), crop=64)
    return [to_crops(batch, torch.device("cpu")) for batch in reader.batches(0, steps)]


def step_by_step(reference: Path, crops: Sequence[Crops], seed: int) -> tuple[float, float]:
    """Largest relative differences of a loss and of an update, each step from the same start."""
    theirs, mine = published(reference, seed), ours()
    loss_off = update_off = 0.0
    for number, batch in enumerate(crops):
        before = theirs.weights()
        mine.take_up(theirs, number)
        loss, expected = mine.step(batch, seed + number), theirs.step(batch, seed + number)
        loss_off = max(loss_off, abs(loss / expected - 1))
        update_off = max(update_off, _distance(mine.weights(), theirs.weights(), before))
    return loss_off, update_off


def curve(side: Side, crops: Sequence[Crops], seed: int, threads: int = 1) -> list[float]:
    torch.set_num_threads(threads)
    losses = [side.step(batch, seed + number) for number, batch in enumerate(crops)]
    torch.set_num_threads(1)
    return losses


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    apart: list[tuple[float, float]] = []
    worst = (0.0, 0.0)
    for seed in range(options.seeds):
        crops = batches(options.data, options.steps, seed)
        worst = tuple(map(max, worst, step_by_step(options.reference, crops, seed)))
        mine = ours()
        mine.take_up(published(options.reference, seed), 0)
        theirs = curve(published(options.reference, seed), crops, seed)
        again = curve(published(options.reference, seed), crops, seed, threads=2)
        freely = curve(mine, crops, seed)
        _show(seed, theirs, again, freely)
        apart.append((_furthest(freely, theirs), _furthest(again, theirs)))
    _judge(worst, apart, options.steps)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


def _distance(a: dict[str, Tensor], b: dict[str, Tensor], origin: dict[str, Tensor]) -> float:
    """Of two updates from one origin, relative to the second."""
    off = sum((a[name] - b[name]).double().square().sum() for name in b)
    length = sum((b[name] - origin[name]).double().square().sum() for name in b)
    return float((off / length) ** 0.5)


def _furthest(curve: Sequence[float], other: Sequence[float]) -> float:
    return float(np.abs(np.array(curve) / np.array(other) - 1).max())


def _show(
    seed: int, theirs: Sequence[float], again: Sequence[float], freely: Sequence[float]
) -> None:
    print(f"\nseed {seed}: loss run freely")
    print("| step | published, 1 thread | published, 2 threads | ours | 2 threads off | ours off |")
    print("|---:|---:|---:|---:|---:|---:|")
    for step in (n for n in SHOWN if n <= len(theirs)):
        one, two, mine = theirs[step - 1], again[step - 1], freely[step - 1]
        off, own = abs(two / one - 1), abs(mine / one - 1)
        print(f"| {step} | {one:.6f} | {two:.6f} | {mine:.6f} | {off:.1e} | {own:.1e} |")


def _judge(worst: tuple[float, ...], apart: Sequence[tuple[float, float]], steps: int) -> None:
    loss, update = worst
    mine, theirs = np.median(apart, axis=0)
    print(f"\nevery one of {steps} steps from the published state, over {len(apart)} seeds:")
    print(f"  loss   off by at most {loss:.1e} relative (goal {MOST_LOSS:.0e})")
    print(f"  update off by at most {update:.1e} relative (goal {MOST_UPDATE:.0e})")
    print(
        f"run freely, furthest apart, median over the seeds: ours {mine:.1e}, its own {theirs:.1e}"
    )
    holds = loss <= MOST_LOSS and update <= MOST_UPDATE and mine <= theirs
    facts = {"loss": loss, "update": update, "ours": float(mine), "published": float(theirs)}
    print(json.dumps({"holds": bool(holds), **facts}))
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
