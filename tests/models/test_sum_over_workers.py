"""Workers with a share of the batch each find the gradients of one worker with the joined batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from amir.losses import restoration_loss
from amir.models.amir import AMIR
from amir.models.layers import sum_over_workers
from tests.gloo_workers import on_workers

BATCH, SIDE, EXPERTS = 6, 16, 4
NETWORK: dict[str, Any] = {"dim": 4, "blocks": (1, 1, 1, 1), "refinement_blocks": 0}
# Large enough that a balance loss taken per worker would be far off; see the last test.
BALANCE_WEIGHT = 1.0


def network(routing: str) -> AMIR:
    """The same on every worker, with a gate that prefers some experts."""
    torch.manual_seed(3)
    built = AMIR(**NETWORK, instructions=4, experts=EXPERTS, heads=(1, 2, 2, 2), routing=routing)
    with torch.no_grad():
        for route in built.encoder_routing:
            route.router.to_noise.normal_(std=0.3)
    return built.double().train()


def batch() -> tuple[Tensor, Tensor, list[Tensor]]:
    """Degraded and target images that differ between items, and the noise of each level."""
    generator = torch.Generator().manual_seed(5)
    shape = (BATCH, 1, SIDE, SIDE)
    brightness = torch.linspace(0.1, 2, BATCH).view(-1, 1, 1, 1)
    degraded = (torch.rand(shape, generator=generator) * brightness).double()
    target = torch.rand(shape, generator=generator).double()
    sides = (SIDE, SIDE // 2, SIDE // 4)
    noise = [
        torch.randn(BATCH, side * side, EXPERTS, generator=generator).double() for side in sides
    ]
    return degraded, target, noise


def valid_pixels() -> Tensor:
    """The first items are small slices, padded to the crop; one of them has no valid pixel."""
    valid = torch.ones(BATCH, 1, SIDE, SIDE, dtype=torch.bool)
    for item, side in enumerate((0, 3, 9)):
        valid[item, :, side:] = valid[item, :, :, side:] = False
    return valid


def gradients(
    model: Any, share: slice, *, balance_weight: float, valid: Tensor | None = None
) -> dict[str, Tensor]:
    degraded, target, noise = batch()
    restored = model(degraded[share], gate_noise=[level[share].flatten(0, 1) for level in noise])
    mask = None if valid is None else valid[share]
    restoration_loss(
        restored, target[share], balance_weight=balance_weight, mask=mask
    ).total.backward()
    module = model.module if isinstance(model, DistributedDataParallel) else model
    return {name: parameter.grad for name, parameter in module.named_parameters()}


CASES = [("published", None), ("paper", None), ("published", valid_pixels())]


def gradients_of_cases(rank: int, workers: int) -> dict[tuple[str, bool], dict[str, Tensor]]:
    share = slice(rank * BATCH // workers, (rank + 1) * BATCH // workers)
    found = {}
    for routing, valid in CASES:
        model = DistributedDataParallel(network(routing))
        found[routing, valid is not None] = gradients(
            model, share, balance_weight=BALANCE_WEIGHT, valid=valid
        )
        if rank == 0:
            # One worker evaluates alone: in evaluation nothing may wait for the others.
            with torch.no_grad():
                model.module.eval()(batch()[0])
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_find_the_gradients_of_the_joined_batch(workers: int, tmp_path: Path) -> None:
    found = on_workers(gradients_of_cases, workers, tmp_path)[0]
    for routing, valid in CASES:
        of_workers = found[routing, valid is not None]
        joined = gradients(
            network(routing), slice(None), balance_weight=BALANCE_WEIGHT, valid=valid
        )
        for name, gradient in joined.items():
            torch.testing.assert_close(
                of_workers[name], gradient, rtol=1e-9, atol=1e-12, msg=f"{routing} {name}"
            )


def test_a_single_process_sums_nothing() -> None:
    tensor = torch.rand(3)
    assert sum_over_workers(tensor) is tensor


def test_balance_taken_per_worker_would_give_other_gradients() -> None:
    """The test above could not pass by accident: two halves, averaged, are not the whole."""
    name = "encoder_routing.0.router.to_logits"
    joined = gradients(network("published"), slice(None), balance_weight=BALANCE_WEIGHT)[name]
    halves = [
        gradients(network("published"), half, balance_weight=BALANCE_WEIGHT)[name]
        for half in (slice(0, 3), slice(3, 6))
    ]
    assert (sum(halves) / 2 - joined).norm() > 0.05 * joined.norm()


def test_means_per_worker_would_weigh_the_pixels_of_padded_slices_more() -> None:
    valid = valid_pixels()
    name = "output.weight"
    joined, *halves = (
        gradients(network("published"), share, balance_weight=0, valid=valid)[name]
        for share in (slice(None), slice(0, 3), slice(3, 6))
    )
    assert (sum(halves) / 2 - joined).norm() > 0.05 * joined.norm()
