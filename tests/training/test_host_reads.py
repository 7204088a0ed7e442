"""Nothing in a step or a forward of the GPU's path reads a value: the host never waits for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from amir.config import OptimizerSettings
from amir.losses import UncertaintyBalance
from amir.models.amir import AMIR
from amir.models.routing import SpatialRouting
from amir.training.average import WeightAverage
from amir.training.optimizer import build_optimizers, set_learning_rate
from amir.training.step import Crops, Objective, seed_step, train_step
from tests.host_reads import host_reads

SMALL: dict[str, Any] = {
    "dim": 4,
    "blocks": (1, 1, 1, 1),
    "refinement_blocks": 1,
    "heads": (1, 1, 1, 1),
}


def network(*, dense: bool = True, **settings: Any) -> AMIR:
    """As on a GPU, where the routing is dense."""
    built = AMIR(**SMALL | settings)
    for module in built.modules():
        if isinstance(module, SpatialRouting):
            module.dense = dense
    return built


def crops() -> Crops:
    image = torch.rand(2, 1, 16, 24)
    return Crops(image, image.flip(3), image > 0.1, torch.tensor([0, 2]))


@pytest.mark.parametrize("routing", ["published", "paper"])
@pytest.mark.parametrize(("experts", "top_k"), [(4, 2), (1, 1), (5, 3), (3, 3)])
def test_a_forward_reads_nothing(routing: str, experts: int, top_k: int) -> None:
    model = network(routing=routing, experts=experts, top_k=top_k).eval()
    with torch.inference_mode(), host_reads() as found:
        instruction = model.instruct(torch.rand(2, 1, 16, 24))
        model(torch.rand(2, 1, 16, 24), instruction=instruction)
    assert found == {}


@pytest.mark.parametrize(
    ("routing", "optimizer", "objective"),
    [
        ("published", "adam", {}),
        ("paper", "adamw", {"clip_norm": 1.0}),
        ("published", "muon", {"accumulate": 2}),
    ],
    ids=["published adam", "paper adamw clipped", "published muon in parts"],
)
def test_a_training_step_reads_nothing(
    routing: str, optimizer: Any, objective: dict[str, Any]
) -> None:
    model, balancing = network(routing=routing).train(), UncertaintyBalance()
    settings = OptimizerSettings(name=optimizer)
    optimizers = build_optimizers(model, settings, beside=balancing.parameters())
    average = WeightAverage(model, 0.9)
    for step in range(2):
        with host_reads() as found:
            set_learning_rate(optimizers, 1e-4)
            seed_step(0, step, 0)
            made = train_step(
                model, crops(), optimizers, Objective(0.001, balancing=balancing, **objective)
            )
            average.follow(model, step + 1)
            torch.cat([made.losses.total[None], made.losses.by_task()])
        assert found == {}


def test_leaving_out_steps_reads_one_value_each() -> None:
    """Whether to take a step is decided on the host: the documented price of that setting."""
    model = network().train()
    optimizers = build_optimizers(model, OptimizerSettings())
    with host_reads() as found:
        train_step(model, crops(), optimizers, Objective(0.001, skip_above=10.0))
    assert found == {"_local_scalar_dense": 1}


def test_sorted_routing_would_be_noticed() -> None:
    with torch.inference_mode(), host_reads() as found:
        network(dense=False).eval()(torch.rand(1, 1, 16, 16))
    assert found == {"bincount": 3, "tolist": 3}


@pytest.mark.parametrize(
    ("reading", "name"),
    [
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: bool(x.sum() > 0), "_local_scalar_dense"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: x[x > 0], "index"),
        (lambda x: x.masked_select(x > 0), "masked_select"),
        (lambda x: x.unique(), "_unique2"),
        (lambda x: x.numpy(), "numpy"),
        (lambda x: torch.repeat_interleave(x, x.long()), "repeat_interleave"),
    ],
)
def test_each_way_of_reading_is_counted(reading: Any, name: str) -> None:
    with host_reads() as found:
        reading(torch.tensor([1.0, 0.0, 2.0]))
    assert found[name]


def test_choosing_by_place_is_no_reading() -> None:
    x: Tensor = torch.rand(5)
    with host_reads() as found:
        x[torch.tensor([1, 3])] = torch.repeat_interleave(x[:2], 1)
    assert found == {}
