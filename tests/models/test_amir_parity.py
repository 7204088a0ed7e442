"""The network computes what the published code computed: outputs, losses, gradients, training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from amir.errors import InputError
from amir.losses import restoration_loss
from amir.models.amir import AMIR
from amir.models.layers import convolve
from amir.models.published import from_published, rename_amir_key

TINY = {"dim": 16, "blocks": (1, 1, 1, 1), "refinement_blocks": 1}
BALANCE_WEIGHT = 0.001
# Of the published code: its module -> ours, for the recorded outputs [B, C, H, W].
STAGES = {
    "spatial_routing_encoder_level1": "encoder_routing.0",
    "encoder_level1": "encoder.0",
    "down1_2": "down.0",
    "spatial_routing_encoder_level2": "encoder_routing.1",
    "encoder_level2": "encoder.1",
    "down2_3": "down.1",
    "spatial_routing_encoder_level3": "encoder_routing.2",
    "encoder_level3": "encoder.2",
    "down3_4": "down.2",
    "channel_routing_latent": "latent_routing",
    "latent": "latent",
    "up4_3": "up.2",
    "reduce_chan_level3": "merge.2",
    "channel_routing_decoder_level3": "decoder_routing.2",
    "decoder_level3": "decoder.2",
    "up3_2": "up.1",
    "reduce_chan_level2": "merge.1",
    "channel_routing_decoder_level2": "decoder_routing.1",
    "decoder_level2": "decoder.1",
    "up2_1": "up.0",
    "channel_routing_decoder_level1": "decoder_routing.0",
    "decoder_level1": "decoder.0",
    "refinement": "refinement",
}


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive}


@pytest.fixture
def official(golden: Path) -> dict[str, Tensor]:
    return load_file(golden / "amir_tiny" / "weights.safetensors")


@pytest.fixture
def tiny(official: dict[str, Tensor]) -> Callable[..., AMIR]:
    """tiny(**settings): the golden's network with its recorded weights."""

    def build(**settings: Any) -> AMIR:
        network = AMIR(**TINY, **settings)
        network.load_state_dict(from_published("amir", official))
        return network

    return build


def backward(network: AMIR, degraded: Tensor, target: Tensor, **inputs: Any) -> Any:
    loss = restoration_loss(network(degraded, **inputs), target, balance_weight=BALANCE_WEIGHT)
    loss.total.backward()
    return loss


def assert_gradients(network: nn.Module, expected: dict[str, Tensor]) -> None:
    for name, parameter in network.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        distance = (gradient - expected[name]).norm()
        assert distance <= 1e-4 * expected[name].norm(), f"{name}: {distance}"


def test_evaluation_gives_the_published_output(golden: Path, tiny: Callable[..., AMIR]) -> None:
    recorded = arrays(golden / "amir_tiny" / "io.npz")
    with torch.no_grad():
        restored = tiny().eval()(recorded["x"])
    torch.testing.assert_close(restored.image, recorded["y"], atol=2e-6, rtol=0)


def test_every_stage_gives_the_published_features(golden: Path, tiny: Callable[..., AMIR]) -> None:
    recorded = arrays(golden / "amir_tiny" / "eval_intermediates.npz")
    network, seen = tiny().eval(), {}
    for published, ours in STAGES.items():
        network.get_submodule(ours).register_forward_hook(
            lambda _, __, output, name=published: seen.__setitem__(name, output)
        )
    degraded = arrays(golden / "amir_tiny" / "io.npz")["x"]
    with torch.no_grad():
        restored = network(degraded)
        instruction = network.instruct(degraded)

    torch.testing.assert_close(instruction, recorded["dict_generator"], atol=2e-6, rtol=1e-5)
    for published, output in seen.items():
        features = output[0] if isinstance(output, tuple) else output
        features = features.permute(0, 3, 1, 2)
        torch.testing.assert_close(
            features, recorded[published], atol=2e-5, rtol=1e-5, msg=published
        )
        if isinstance(output, tuple):
            torch.testing.assert_close(
                output[1], recorded[f"{published}.loss"][0], rtol=1e-5, atol=0
            )
    published_loss = sum(recorded[f"spatial_routing_encoder_level{i}.loss"][0] for i in (1, 2, 3))
    torch.testing.assert_close(restored.auxiliary_loss, published_loss, rtol=1e-5, atol=0)


@pytest.mark.parametrize("injected", [True, False], ids=["injected", "seeded"])
def test_training_with_gate_noise_matches(
    golden: Path, tiny: Callable[..., AMIR], injected: bool
) -> None:
    recorded = arrays(golden / "amir_tiny" / "train_noisy.npz")
    degraded = arrays(golden / "amir_tiny" / "io.npz")["x"]
    noise = [recorded[f"level{level}.noise"] for level in (1, 2, 3)] if injected else None
    network = tiny().train()

    torch.manual_seed(1234)
    restored = network(degraded, gate_noise=noise)
    loss = restoration_loss(restored, recorded["target"], balance_weight=BALANCE_WEIGHT)
    loss.total.backward()

    torch.testing.assert_close(restored.image, recorded["out"], atol=5e-6, rtol=0)
    assert loss.l1.item() == pytest.approx(recorded["loss_l1"].item(), rel=1e-5)
    assert loss.balance.item() == pytest.approx(recorded["loss_load"].item(), rel=1e-5)
    assert loss.total.item() == pytest.approx(recorded["loss_total"].item(), rel=1e-5)
    gradients = load_file(golden / "amir_tiny" / "grads_noisy.safetensors")
    assert_gradients(network, from_published("amir", gradients))


def test_training_without_gate_noise_matches(golden: Path, tiny: Callable[..., AMIR]) -> None:
    recorded = arrays(golden / "amir_tiny" / "train_noiseless.npz")
    degraded = arrays(golden / "amir_tiny" / "io.npz")["x"]
    network = tiny(gate_noise=False).train()

    loss = backward(network, degraded, recorded["target"])

    assert loss.l1.item() == pytest.approx(recorded["loss_l1"].item(), rel=1e-5)
    assert loss.balance.item() == pytest.approx(recorded["loss_load"].item(), rel=1e-5)
    gradients = load_file(golden / "amir_tiny" / "grads_noiseless.safetensors")
    assert_gradients(network, from_published("amir", gradients))


def test_five_adam_steps_follow_the_published_trajectory(
    golden: Path, tiny: Callable[..., AMIR]
) -> None:
    trajectory = json.loads((golden / "amir_tiny" / "meta.json").read_text())["adam_noiseless"]
    target = arrays(golden / "amir_tiny" / "train_noiseless.npz")["target"]
    degraded = arrays(golden / "amir_tiny" / "io.npz")["x"]
    network = tiny(gate_noise=False).train()
    adam = torch.optim.Adam(network.parameters(), lr=trajectory["lr"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=10, eta_min=1e-6)

    for expected in trajectory["trajectory"]:
        assert schedule.get_last_lr()[0] == pytest.approx(expected["lr"])
        adam.zero_grad()
        loss = backward(network, degraded, target)
        assert loss.l1.item() == pytest.approx(expected["loss_l1"], rel=1e-4)
        assert loss.balance.item() == pytest.approx(expected["loss_load"], rel=1e-4)
        adam.step()
        schedule.step()

    with torch.no_grad():
        restored = network.eval()(degraded).image
    after = arrays(golden / "amir_tiny" / "after_5_adam_steps.npz")["y"]
    torch.testing.assert_close(restored, after, atol=2e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def full_official(
    golden: Path, formula_weight: Callable[[str, tuple[int, ...]], Tensor]
) -> dict[str, Tensor]:
    """The published network's default state dict, filled by formula."""
    keys = json.loads((golden / "amir_full" / "keys.json").read_text())["keys"]
    return {
        key: formula_weight(key, tuple(shape)) if kind == "parameter" else torch.zeros(shape)
        for key, shape, _, kind in keys
    }


def test_the_formula_fills_the_recorded_weights(
    golden: Path, full_official: dict[str, Tensor]
) -> None:
    checksums = json.loads((golden / "amir_full" / "param_checksums.json").read_text())
    for key, (total, absolute, first, last) in checksums.items():
        weight = full_official[key].double().flatten()
        assert weight.sum().item() == pytest.approx(total, rel=1e-9, abs=1e-9)
        assert weight.abs().sum().item() == pytest.approx(absolute, rel=1e-12)
        assert (weight[0].item(), weight[-1].item()) == (first, last)


def test_the_full_network_gives_the_published_output_and_gradients(
    golden: Path,
    full_official: dict[str, Tensor],
    formula_image: Callable[[str, tuple[int, ...]], Tensor],
) -> None:
    recorded = arrays(golden / "amir_full" / "io.npz")
    expected = json.loads((golden / "amir_full" / "train_noiseless_64.json").read_text())
    degraded = formula_image("a", (1, 1, 64, 64))
    assert torch.equal(degraded, recorded["x_a"])
    network = AMIR(gate_noise=False)
    network.load_state_dict(from_published("amir", full_official))

    with torch.no_grad():
        evaluated = network.eval()(degraded)
    torch.testing.assert_close(evaluated.image, recorded["y_a"], atol=1e-3, rtol=0)

    target = formula_image("target", (1, 1, 64, 64))
    loss = backward(network.train(), degraded, target)
    assert loss.l1.item() == pytest.approx(expected["loss_l1"], rel=1e-5)
    assert loss.balance.item() == pytest.approx(expected["loss_load"], rel=1e-5)
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    for key, norm in expected["grad_norms"].items():
        gradient = gradients[rename_amir_key(key)]
        found = 0.0 if gradient is None else gradient.norm().item()
        # In float64 one norm lies 1.6e-4 from the recorded one, which is of float32.
        assert found == pytest.approx(norm or 0.0, rel=1e-3, abs=1e-7), key


def test_the_full_network_has_the_size_that_the_paper_prints() -> None:
    network = AMIR()
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_540_498


def test_fresh_weights_are_distributed_like_the_published_ones(golden: Path) -> None:
    """mean, standard deviation and largest size of every parameter, as far as chance allows."""
    published = json.loads((golden / "amir_full" / "init_seed0.json").read_text())["params"]
    torch.manual_seed(0)
    weights = AMIR().state_dict()
    for key, (mean, deviation, largest, *_) in published.items():
        weight = weights[rename_amir_key(key)]
        if largest in (0.0, 1.0):
            assert (weight.mean().item(), weight.abs().max().item()) == (mean, largest), key
        elif weight.numel() >= 64:
            allowed = 5 / weight.numel() ** 0.5
            assert abs(weight.mean().item() - mean) < 2 * allowed * deviation, key
            assert weight.std().item() == pytest.approx(deviation, rel=2 * allowed), key
            assert weight.abs().max().item() == pytest.approx(largest, rel=0.5), key


def test_published_weights_that_do_not_fit_are_named(official: dict[str, Tensor]) -> None:
    wrong = dict(official)
    del wrong["latent.0.ffn.dwconv.weight"]
    wrong["head.weight"] = torch.zeros(3)
    wrong["output.weight"] = torch.zeros(2, 32, 3, 3)
    with pytest.raises(InputError) as refusal:
        from_published("amir", wrong)
    for name in ("latent.0.feed_forward.depthwise", "head.weight", "output.weight"):
        assert name in str(refusal.value)


def test_evaluation_in_strips_equals_evaluation_at_once(tiny: Callable[..., AMIR]) -> None:
    """Without a gradient the CPU works in bands of rows; with one, on whole images."""
    degraded = torch.rand(1, 1, 264, 256, generator=torch.Generator().manual_seed(0))
    block = tiny().eval().decoder[0]
    features = convolve(nn.Conv2d(1, 32, 3, padding=1), degraded.permute(0, 2, 3, 1)).detach()
    with torch.no_grad():
        in_strips = block(features)
    torch.testing.assert_close(in_strips, block(features).detach(), atol=1e-5, rtol=1e-5)
