"""The training loss: mean absolute error plus the weighted auxiliary loss."""

from __future__ import annotations

import pytest
import torch

from amir.losses import TASKS, UncertaintyBalance, restoration_loss
from amir.modality import Modality
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


def test_errors_are_told_by_task_and_a_task_without_a_pixel_has_none() -> None:
    image = torch.tensor([1.0, 2.0, 6.0]).reshape(3, 1, 1, 1)
    task = torch.tensor([TASKS.index(Modality.PET), 0, TASKS.index(Modality.PET)])
    loss = restoration_loss(
        Restored(image, torch.zeros(())), torch.zeros_like(image), balance_weight=0, task=task
    )
    assert loss.by_task().tolist()[0::2] == [2.0, 3.5]
    assert loss.by_task()[1].isnan()
    assert loss.l1.item() == 3.0


def test_the_learnt_scale_of_a_task_settles_at_its_mean_error() -> None:
    balancing = UncertaintyBalance()
    optimizer = torch.optim.Adam(balancing.parameters(), lr=0.05)
    image = torch.tensor([0.1, 0.3, 0.02]).reshape(3, 1, 1, 1)
    restored = Restored(image, torch.zeros(()))
    for _ in range(400):
        optimizer.zero_grad()
        restoration_loss(
            restored,
            torch.zeros_like(image),
            balance_weight=0,
            task=torch.tensor([0, 0, 2]),
            balancing=balancing,
        ).total.backward()
        optimizer.step()
    scales = balancing.log_scale.detach().exp()
    torch.testing.assert_close(scales, torch.tensor([0.2, 1.0, 0.02]), rtol=0.02, atol=0)


def test_at_the_start_uncertainty_is_the_plain_error(restored: Restored) -> None:
    target = torch.zeros(1, 1, 2, 2)
    plain = restoration_loss(restored, target, balance_weight=0.1)
    weighted = restoration_loss(
        restored, target, balance_weight=0.1, balancing=UncertaintyBalance()
    )
    torch.testing.assert_close(weighted.total, plain.total)


def test_both_parts_get_a_gradient(restored: Restored) -> None:
    restoration_loss(restored, torch.zeros(1, 1, 2, 2), balance_weight=0.1).total.backward()
    assert restored.auxiliary_loss.grad.item() == pytest.approx(0.1)
    assert restored.image.grad.flatten().tolist() == [0.25] * 4
