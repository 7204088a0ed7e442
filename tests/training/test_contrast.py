"""Momentum contrast: what it pulls together, what follows, and what a kill or company changes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from amir.config import LossSettings, TrainSettings
from amir.losses import contrastive_loss
from amir.models.amir import AMIR
from amir.training.contrast import (
    MomentumContrast,
    instruction_network,
    momentum_contrast,
    two_views,
)
from amir.training.step import Crops, Objective, seed_step, train_step
from tests.gloo_workers import on_workers

CONTRASTIVE = {"model.instruction": "contrastive", "loss.contrast_queue": 8}
BATCH, SIDE = 4, 16
NETWORK: dict[str, Any] = {
    "dim": 4,
    "blocks": (1, 1, 1, 1),
    "refinement_blocks": 0,
    "heads": (1, 1, 1, 1),
    "instructions": 4,
    "instruction": "contrastive",
    "gate_noise": False,
}


def contrast_of(encoder: nn.Module, **chosen: Any) -> MomentumContrast:
    settings = LossSettings(**{"contrast_queue": 8} | chosen)
    return MomentumContrast(encoder, settings, width=256, seed=1)


def network() -> AMIR:
    torch.manual_seed(7)
    return AMIR(**NETWORK).train()


def test_the_loss_is_the_cross_entropy_of_finding_the_own_key() -> None:
    queries = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    own, others = torch.eye(2), torch.tensor([[0.0, -1.0], [-1.0, 0.0]])
    found = contrastive_loss(queries, own, others, temperature=0.5)
    by_hand = -torch.log(torch.tensor(2.0).exp() / (torch.tensor([2.0, 0.0, -2.0]).exp().sum()))
    torch.testing.assert_close(found, by_hand)


def test_instructions_learn_to_tell_images_apart() -> None:
    """Images that differ in brightness, never the same twice; the queue holds the latest 8."""
    model = network()
    contrast = contrast_of(model.instruction, contrast_momentum=0.9)
    optimizer = torch.optim.Adam(model.instruction.parameters(), lr=3e-3)
    losses = []
    for _ in range(250):
        images = torch.rand(BATCH, 1, SIDE, SIDE) * 3 * torch.rand(BATCH, 1, 1, 1)
        loss = contrast.loss(model.instruction, *two_views(images))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    untaught = losses[4:24]  # the queue's random start is gone by then
    assert sum(losses[-20:]) < 0.7 * sum(untaught)


def test_the_follower_keeps_its_share_of_itself_and_gets_no_gradient() -> None:
    model = network()
    contrast = contrast_of(model.instruction, contrast_momentum=0.75)
    before = contrast.follower.to_instruction.weight.clone()
    with torch.no_grad():
        model.instruction.to_instruction.weight.add_(1)
    contrast.loss(model.instruction, *two_views(torch.rand(2, 1, SIDE, SIDE))).backward()
    torch.testing.assert_close(contrast.follower.to_instruction.weight, before + 0.25)
    assert all(weight.grad is None for weight in contrast.parameters())
    assert all(weight.grad is not None for weight in model.instruction.parameters())


def test_the_newest_keys_replace_the_oldest() -> None:
    model = network()
    contrast = contrast_of(model.instruction)
    first = contrast.queue.clone()
    for _ in range(3):
        contrast.loss(model.instruction, *two_views(torch.rand(3, 1, SIDE, SIDE)))
    assert int(contrast.position) == 1
    assert not (contrast.queue == first).all(dim=1).any()
    torch.testing.assert_close(contrast.queue.norm(dim=1), torch.ones(8))


@pytest.mark.parametrize(("side", "view"), [(16, 9), (64, 32)])
def test_views_are_halves_of_the_crop_where_seed_and_step_put_them(side: int, view: int) -> None:
    images = torch.rand(3, 1, side, side)

    def views(step: int) -> Tensor:
        seed_step(0, step, 0)
        return torch.stack(two_views(images))

    assert views(5).shape == (2, 3, 1, view, view)
    assert torch.equal(views(5), views(5))
    assert not torch.equal(views(5), views(6))


def test_a_killed_run_resumes_its_queue_and_follower_bit_for_bit(
    train_settings: Callable[..., TrainSettings], local_run: Callable[..., Any]
) -> None:
    chosen = {"checkpoints.every": 3, "steps": 7, **CONTRASTIVE}
    whole = local_run(train_settings(run="whole", **chosen)).train()
    killed = local_run(train_settings(run="killed", **chosen))
    with pytest.raises(RuntimeError, match="feed ended"):
        killed.train(itertools.islice(killed.batches(), 5))
    resumed = local_run(train_settings(run="killed", **chosen))
    assert resumed.state.step == 3
    resumed.train()

    assert resumed.losses() == whole.losses()
    for part in ("model", "contrast"):
        kept = getattr(whole.state, part).state_dict()
        for name, tensor in getattr(resumed.state, part).state_dict().items():
            assert torch.equal(kept[name], tensor), name
    assert all(row["train/contrast"] > 0 for row in whole.folder.rows() if "train/l1" in row)


def test_a_checkpoint_restores_without_queue_and_follower(
    train_settings: Callable[..., TrainSettings], local_run: Callable[..., Any]
) -> None:
    from amir import checkpoint

    run = local_run(train_settings(**{"steps": 1, **CONTRASTIVE})).train()
    saved = checkpoint.latest(run.folder.checkpoints)
    assert saved is not None
    assert not any("queue" in name or "follower" in name for name in saved.weights())
    assert saved.network()(torch.rand(1, 1, 16, 16)).image.shape == (1, 1, 16, 16)


def test_other_instructions_are_trained_without_contrast(
    train_settings: Callable[..., TrainSettings],
) -> None:
    settings = train_settings(**{"model.instruction": "direct"})
    assert momentum_contrast(settings, network()) is None


def test_a_queue_smaller_than_a_batch_is_refused(
    train_settings: Callable[..., TrainSettings],
) -> None:
    with pytest.raises(ValueError, match="contrast_queue is 2, less than a batch of 6"):
        train_settings(**CONTRASTIVE | {"loss.contrast_queue": 2})


def crops(step: int, share: slice) -> Crops:
    """A worker's share of a step's batch; its views are the whole crops, the same for any share."""
    generator = torch.Generator().manual_seed(step)
    degraded, target = torch.rand((2, BATCH, 1, 9, 9), generator=generator, dtype=torch.float64)
    grown = [nn.functional.pad(image, (0, 7, 0, 7))[share] for image in (degraded, target)]
    valid = torch.ones_like(grown[0], dtype=torch.bool)
    return Crops(*grown, valid, torch.zeros(len(valid), dtype=torch.long))


def trained(rank: int, workers: int) -> dict[str, Tensor]:
    """Weights, follower and queue after some steps, by the trainer's own losses and update."""
    model = network().double()
    wrapped = DistributedDataParallel(model) if workers > 1 else model
    contrast = contrast_of(model.instruction, contrast_momentum=0.5).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    share = slice(rank * BATCH // workers, (rank + 1) * BATCH // workers)
    for step in range(3):
        mine = crops(step, share)
        optimizer.zero_grad(set_to_none=True)
        restored = wrapped(mine.degraded)
        beside = contrast.loss(instruction_network(wrapped), mine.degraded, mine.target)
        ((restored.image - mine.target).abs().mean() + beside).backward()
        optimizer.step()
    return model.state_dict() | {f"contrast/{k}": v for k, v in contrast.state_dict().items()}


@pytest.mark.timeout(120)
def test_two_workers_contrast_as_one_with_the_whole_batch(tmp_path: Path) -> None:
    of_workers = on_workers(trained, 2, tmp_path)
    alone = trained(0, 1)
    for states in of_workers:
        for name, tensor in states.items():
            torch.testing.assert_close(tensor, alone[name], rtol=0, atol=1e-6, msg=name)


def test_a_step_with_contrast_adds_its_weighted_loss() -> None:
    model = network()
    contrast = contrast_of(model.instruction, contrast_weight=0.25)
    degraded, target = torch.rand(2, 2, 1, SIDE, SIDE)
    valid = torch.ones_like(degraded, dtype=torch.bool)
    whole = Crops(degraded, target, valid, torch.tensor([0, 2]))
    still = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = train_step(model, whole, [still], Objective(0, contrast)).losses
    assert losses.contrast > 0
    torch.testing.assert_close(losses.total, losses.l1 + 0.25 * losses.contrast)
