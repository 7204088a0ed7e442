"""The moving average of the weights follows them, ever more slowly, up to its decay."""

from __future__ import annotations

import pytest
import torch

from amir.training.average import WeightAverage


def test_the_first_steps_count_much_and_later_ones_by_the_decay() -> None:
    trained = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(trained, decay=0.5)
    expected = trained.weight.item()
    for step in range(1, 21):
        torch.nn.init.constant_(trained.weight, float(step))
        average.follow(trained, step)
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step
        assert average.model.weight.item() == pytest.approx(expected, rel=1e-5)


def test_the_average_gets_no_gradient_and_leaves_the_weights_alone() -> None:
    trained = torch.nn.Linear(2, 2)
    before = trained.weight.detach().clone()
    average = WeightAverage(trained, decay=0.9)
    average.follow(trained, 1)
    assert not any(p.requires_grad for p in average.model.parameters())
    assert all(p.requires_grad for p in trained.parameters())
    assert torch.equal(trained.weight, before)
