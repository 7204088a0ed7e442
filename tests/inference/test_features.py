"""What a slice looks like in numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from amir.inference.trust.features import PLAIN, slice_features


def named(degraded: Tensor, restored: Tensor | None = None) -> dict[str, float]:
    given, gave = (i[:, 0].numpy() for i in (degraded, degraded if restored is None else restored))
    (row,) = slice_features(given, gave)
    return dict(zip(PLAIN, row, strict=True))


def test_intensities_are_those_of_the_slice() -> None:
    image = torch.linspace(0, 1, 64 * 64).view(1, 1, 64, 64)
    features = named(image)
    assert features["mean"] == pytest.approx(0.5, abs=1e-4)
    assert features["deviation"] == pytest.approx(1 / np.sqrt(12), abs=1e-3)
    assert features["air"] == pytest.approx(0.02, abs=1e-3)
    assert features["quantile 0.25"] == pytest.approx(0.25, abs=1e-3)


def test_noise_is_told_in_decades_and_edges_hardly_count() -> None:
    torch.manual_seed(0)
    disk = (torch.hypot(*torch.meshgrid(*[torch.arange(-64.0, 64)] * 2, indexing="ij")) < 40) * 0.5
    noise = torch.randn(128, 128)
    for deviation in (0.1, 0.01):
        found = named((disk + deviation * noise)[None, None])["noise"]
        assert found == pytest.approx(np.log10(deviation), abs=0.2)


@pytest.mark.parametrize(("cycles", "band"), [(1, 1), (3, 2), (6, 3), (12, 4), (28, 5)])
def test_a_wave_lies_in_its_band_of_kspace(cycles: int, band: int) -> None:
    wave = 0.5 + 0.2 * torch.cos(2 * np.pi * cycles * torch.arange(64.0) / 64)
    features = named(wave.expand(1, 1, 64, 64))
    strongest = max(range(1, 6), key=lambda number: features[f"band {number}"])
    assert strongest == band


def test_what_the_network_changed_is_told() -> None:
    image = torch.rand(1, 1, 32, 32)
    assert named(image)["change"] == -6
    assert named(image, image + 0.01)["change"] == pytest.approx(-2, abs=1e-3)


def test_routing_stands_behind_the_rest_and_each_slice_for_itself() -> None:
    images, instruction = torch.rand(3, 24, 40).numpy(), torch.rand(3, 6).numpy()
    use = {"encoder 1": torch.rand(3, 4).numpy()}
    every = slice_features(images, images * 0.9, instruction=instruction, expert_use=use)
    assert every.shape == (3, len(PLAIN) + 4 + 6)
    np.testing.assert_allclose(every[:, -6:], instruction, rtol=1e-6)
    alone = slice_features(images[1:2], images[1:2] * 0.9)
    np.testing.assert_allclose(every[1:2, : len(PLAIN)], alone, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (3, 2)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_smallest_and_flattest_slices_have_finite_features(
    shape: tuple[int, int], value: float
) -> None:
    image = np.full((2, *shape), value, np.float32)
    assert np.isfinite(slice_features(image, image)).all()
