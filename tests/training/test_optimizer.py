"""The learning rate follows the published schedule; Adam is the published one."""

from __future__ import annotations

import warnings

import pytest
import torch

from amir.config import OptimizerSettings
from amir.training.optimizer import build_optimizer, learning_rate


def rates(steps: int, settings: OptimizerSettings) -> list[float]:
    return [learning_rate(step, steps, settings) for step in range(steps)]


def test_the_closed_form_is_the_published_cosine_annealing() -> None:
    settings = OptimizerSettings(learning_rate=2e-4, final_learning_rate=1e-6)
    optimizer = build_optimizer(torch.nn.Linear(1, 1), settings)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=1e-6)
    published = []
    for _ in range(50):
        published.append(schedule.get_last_lr()[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no update is made here
            schedule.step()
    assert rates(50, settings) == pytest.approx(published, rel=1e-9)


def test_the_rate_rises_linearly_and_then_falls_to_the_final_rate() -> None:
    settings = OptimizerSettings(learning_rate=1e-3, final_learning_rate=1e-5, warmup_steps=4)
    found = rates(20, settings)
    assert found[:5] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3])
    assert found[4:] == sorted(found[4:], reverse=True)
    assert learning_rate(20, 20, settings) == pytest.approx(1e-5)
    assert learning_rate(25, 20, settings) == pytest.approx(1e-5)


def test_a_warm_up_as_long_as_the_run_never_passes_the_peak() -> None:
    settings = OptimizerSettings(learning_rate=1e-3, warmup_steps=10)
    assert rates(5, settings) == pytest.approx([1e-4, 2e-4, 3e-4, 4e-4, 5e-4])


def test_the_fused_optimizer_makes_the_updates_of_the_plain_one() -> None:
    settings = OptimizerSettings(learning_rate=1e-2)
    torch.manual_seed(0)
    plain, ours = (torch.nn.Linear(5, 3) for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    reference = torch.optim.Adam(plain.parameters(), lr=1e-2, betas=settings.betas, eps=1e-8)
    optimizer = build_optimizer(ours, settings)
    for _ in range(5):
        image = torch.rand(4, 5)
        for model, stepper in ((plain, reference), (ours, optimizer)):
            stepper.zero_grad()
            model(image).square().sum().backward()
            stepper.step()
    torch.testing.assert_close(ours.weight, plain.weight)
