"""The learning rate follows the published schedule; Adam is the published one."""

from __future__ import annotations

import warnings

import pytest
import torch

from amir.config import OptimizerSettings
from amir.models.registry import build_model
from amir.training.optimizer import build_optimizers, is_matrix, learning_rate


def rates(steps: int, settings: OptimizerSettings) -> list[float]:
    return [learning_rate(step, steps, settings) for step in range(steps)]


def test_the_closed_form_is_the_published_cosine_annealing() -> None:
    settings = OptimizerSettings(learning_rate=2e-4, final_learning_rate=1e-6)
    (optimizer,) = build_optimizers(torch.nn.Linear(1, 1), settings)
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


def network() -> torch.nn.Module:
    blocks = heads = (1, 1, 1, 1)
    return build_model("amir", dim=4, blocks=blocks, refinement_blocks=1, heads=heads)


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
def test_every_parameter_is_in_exactly_one_optimizer(name: str) -> None:
    model, beside = network(), torch.nn.Parameter(torch.zeros(3))
    settings = OptimizerSettings.model_validate({"name": name})
    optimizers = build_optimizers(model, settings, beside=[beside])
    held = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, [*model.parameters(), beside]))


def test_muon_takes_the_maps_between_features_and_no_table_router_kernel_or_vector() -> None:
    muons = {name for name, p in network().named_parameters() if is_matrix(name, p)}
    assert "encoder.0.0.attention.qkv.weight" in muons
    assert "encoder_routing.0.experts.0.0.weight" in muons
    for left_to_adam in ("instruction.dictionary", "encoder_routing.0.router.to_logits"):
        assert left_to_adam not in muons
    assert all(not name.endswith(("bias", "embed.weight", "depthwise.weight")) for name in muons)


def test_an_update_of_muon_moves_all_directions_of_a_matrix_alike() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 6, bias=False)
    before = layer.weight.detach().clone()
    settings = OptimizerSettings(name="muon", learning_rate=1e-2)
    layer.weight.grad = torch.diag(torch.tensor([100.0, 30.0, 10.0, 3.0, 1.0, 0.3]))
    build_optimizers(layer, settings)[0].step()
    strengths = torch.linalg.svdvals(layer.weight.detach() - before)
    assert strengths.max() / strengths.min() < 3  # of the gradient's: 333


def test_weights_decay_and_biases_norms_and_temperatures_do_not() -> None:
    model = network()
    settings = OptimizerSettings(name="adamw", learning_rate=0.5, weight_decay=0.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    build_optimizers(model, settings)[0].step()
    for name, parameter in model.named_parameters():
        is_vector = name.endswith(("bias", "norm.weight", "temperature", "gamma", "beta"))
        kept = 1.0 if is_vector else 0.75
        torch.testing.assert_close(parameter.detach(), kept * before[name], msg=name)


def test_decay_with_plain_adam_is_refused() -> None:
    with pytest.raises(ValueError, match="weight_decay needs"):
        OptimizerSettings(weight_decay=0.1)


def test_the_fused_optimizer_makes_the_updates_of_the_plain_one() -> None:
    settings = OptimizerSettings(learning_rate=1e-2)
    torch.manual_seed(0)
    plain, ours = (torch.nn.Linear(5, 3) for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    reference = torch.optim.Adam(plain.parameters(), lr=1e-2, betas=settings.betas, eps=1e-8)
    (optimizer,) = build_optimizers(ours, settings)
    for _ in range(5):
        image = torch.rand(4, 5)
        for model, stepper in ((plain, reference), (ours, optimizer)):
            stepper.zero_grad()
            model(image).square().sum().backward()
            stepper.step()
    torch.testing.assert_close(ours.weight, plain.weight)
