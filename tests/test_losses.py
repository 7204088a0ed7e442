"""The training loss: mean absolute error plus the weighted auxiliary loss."""

from __future__ import annotations

import pytest
import torch

from amir.losses import restoration_loss
from amir.models.restored import Restored


@pytest.fixture
def restored() -> Restored:
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], requires_grad=True)
    return Restored(image, torch.tensor(5.0, requires_grad=True))


def test_the_total_is_the_error_plus_the_weighted_balance(restored: Restored) -> None:
    loss = restoration_loss(restored, torch.zeros(1, 1, 2, 2), balance_weight=0.1)
    assert (loss.total.item(), loss.l1.item(), loss.balance.item()) == (3.0, 2.5, 5.0)


def test_pixels_outside_the_mask_do_not_count(restored: Restored) -> None:
    mask = torch.tensor([[[[True, False], [True, False]]]])
    loss = restoration_loss(restored, torch.zeros(1, 1, 2, 2), balance_weight=0, mask=mask)
    loss.total.backward()
    assert loss.l1.item() == 2.0
    assert restored.image.grad.flatten().tolist() == [0.5, 0, 0.5, 0]


def test_a_mask_without_a_pixel_gives_zero(restored: Restored) -> None:
    mask = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    loss = restoration_loss(restored, torch.zeros(1, 1, 2, 2), balance_weight=0, mask=mask)
    loss.total.backward()
    assert loss.l1.item() == 0
    assert restored.image.grad.abs().sum() == 0


def test_both_parts_get_a_gradient(restored: Restored) -> None:
    restoration_loss(restored, torch.zeros(1, 1, 2, 2), balance_weight=0.1).total.backward()
    assert restored.auxiliary_loss.grad.item() == pytest.approx(0.1)
    assert restored.image.grad.flatten().tolist() == [0.25] * 4
