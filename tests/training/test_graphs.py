"""A step that is replayed is the step that the seed asks for."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from amir.config import OptimizerSettings, TrainSettings
from amir.losses import UncertaintyBalance
from amir.models.amir import AMIR
from amir.training.graphs import GraphedGradients
from amir.training.optimizer import build_optimizers
from amir.training.step import Crops, Gradients, Objective, find_gradients, seed_step, train_step
from tests.models.recording import record


def crops(side: int, seed: int) -> Crops:
    torch.manual_seed(seed)
    image = torch.rand(2, 1, side, side)
    return Crops(image, image.flip(3), image > 0.1, torch.tensor([0, 2]))


def graphed(model: nn.Module, balancing: nn.Module) -> GraphedGradients:
    """With a stand-in for the GPU's graph, whose memory holds the gradients too."""

    def gradients() -> list[Tensor]:
        parameters = [*model.parameters(), *balancing.parameters()]
        return [p.grad for p in parameters if p.grad is not None]

    return GraphedGradients(partial(record, also=gradients))


def trained(kind: str, **settings: Any) -> list[Tensor]:
    """Losses and weights of four steps, the last two on larger crops."""
    torch.manual_seed(0)
    model = AMIR(dim=2, blocks=(1,) * 4, refinement_blocks=0, heads=(1,) * 4, **settings).train()
    balancing = UncertaintyBalance()
    optimizers = build_optimizers(model, OptimizerSettings(), beside=balancing.parameters())
    found: Gradients = graphed(model, balancing) if kind == "graph" else find_gradients
    objective, losses = Objective(0.01, balancing=balancing, clip_norm=1.0), []
    for step, side in enumerate((16, 16, 24, 24)):
        batch = crops(side, step)
        seed_step(7, step, 0)
        made = train_step(model, batch, optimizers, objective, gradients=found)
        losses.append(made.losses.total.clone())
    return [*losses, *(p.detach() for p in model.parameters()), balancing.log_scale.detach()]


@pytest.mark.parametrize("settings", [{}, {"gate_noise": False}], ids=["noise", "no noise"])
def test_replayed_steps_are_the_plain_steps(settings: dict[str, Any]) -> None:
    for replayed, plain in zip(
        trained("graph", **settings), trained("plain", **settings), strict=True
    ):
        assert torch.equal(replayed, plain)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": {"graph": True}}, "graph True needs a GPU: set workers.gpu"),
        ({"workers": {"kernels": "triton"}}, "kernels triton needs a GPU"),
        ({"workers": {"compile": True}}, "compile True needs a GPU"),
        ({"workers": {"gpu": True, "graph": True, "count": 2}}, "graph holds one worker's step"),
        ({"workers": {"gpu": True, "graph": True}, "accumulate": 2}, "needs accumulate 1"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainSettings.model_validate({"data": {"path": "dataset"}, **changes})
