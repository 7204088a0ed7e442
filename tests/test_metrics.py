"""The scores and the intensity transforms equal those of the published test script."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from amir.metrics import local_moments, ms_ssim, psnr, rmse, score_slice, ssim
from amir.modality import SCORING_RANGES, Modality, denormalise, normalise
from amir.models.routing import log_space_sum, squared_variation

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def recorded(golden: Path) -> Arrays:
    with np.load(golden / "metrics" / "data.npz") as archive:
        return {name: archive[name] for name in archive}


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict[str, Any]:
    scores: dict[str, Any] = json.loads((golden / "metrics" / "expected.json").read_text())
    return scores


@pytest.mark.parametrize("as_tensor", [False, True], ids=["array", "tensor"])
@pytest.mark.parametrize(
    "case", ["ct_a", "ct_uniform", "mri_a", "mri_uniform", "pet_a", "pet_uniform"]
)
def test_a_slice_scores_as_published(
    recorded: Arrays, expected: dict[str, Any], case: str, as_tensor: bool
) -> None:
    modality = Modality(expected[case]["modality"])
    images = [denormalise(recorded[f"{case}_{name}"][0, 0], modality) for name in ("gen", "label")]
    restored, target = map(torch.from_numpy, images) if as_tensor else images
    score = score_slice(restored, target, modality)
    assert score.psnr == pytest.approx(expected[case]["psnr"], abs=1e-4)
    assert score.ssim == pytest.approx(expected[case]["ssim"], abs=2e-6)
    assert score.rmse == pytest.approx(expected[case]["rmse"], rel=1e-5)


def test_plain_images_score_as_published(recorded: Arrays, expected: dict[str, Any]) -> None:
    x, y = recorded["plain_x"], recorded["plain_y"]
    published = expected["plain_python_range_2.5"]
    assert psnr(x, y, 2.5) == pytest.approx(published["psnr"], abs=1e-4)
    assert ssim(x, y, 2.5) == pytest.approx(published["ssim"], abs=2e-6)
    assert rmse(x, y) == pytest.approx(published["rmse"], rel=1e-5)


def test_a_batch_is_pooled_into_one_error(recorded: Arrays, expected: dict[str, Any]) -> None:
    x, y = recorded["batch_x"], recorded["batch_y"]
    published = expected["batch2_pooled_range_3"]
    assert psnr(x, y, 3) == pytest.approx(published["psnr"], abs=1e-4)
    assert ssim(x, y, 3) == pytest.approx(published["ssim"], abs=2e-6)
    assert rmse(x, y) == pytest.approx(published["rmse"], rel=1e-5)


def test_identical_images_score_perfectly(recorded: Arrays) -> None:
    image = recorded["plain_x"][0, 0]
    assert psnr(image, image, 2.5) == math.inf
    assert ssim(image, image, 2.5) == pytest.approx(1)
    assert rmse(image, image) == 0


def test_a_constant_target_has_no_psnr(recorded: Arrays, expected: dict[str, Any]) -> None:
    image, air = recorded["plain_x"], np.zeros_like(recorded["plain_x"])
    published = expected["constant_label_range_0"]
    assert psnr(image, air, 0) == -math.inf == float(published["psnr"])
    assert ssim(image, air, 0) == float(published["ssim"])
    assert rmse(image, air) == pytest.approx(published["rmse"], rel=1e-5)
    assert score_slice(air[0, 0], air[0, 0], Modality.PET).psnr == -math.inf


def test_slices_that_are_not_square_score_like_their_transpose(recorded: Arrays) -> None:
    x, y = recorded["plain_x"][0, 0], recorded["plain_y"][0, 0]
    assert x.shape == (40, 56)
    assert ssim(x, y, 2.5) == pytest.approx(ssim(x.T, y.T, 2.5))


@pytest.mark.parametrize("modality", Modality)
def test_only_what_lies_in_the_scoring_range_counts(modality: Modality) -> None:
    generator = np.random.default_rng(0)
    limits = SCORING_RANGES[modality]
    target = generator.uniform(limits.lower, limits.upper, (24, 32))
    target[0, :2] = limits.lower, limits.upper
    restored = target + generator.normal(0, limits.span / 50, target.shape)
    beyond = np.where(restored > limits.upper, restored + 1000, restored)
    beyond[0, 0] = limits.lower - 1000
    restored[0, 0] = limits.lower
    before = beyond.copy()
    assert score_slice(beyond, target, modality) == score_slice(restored, target, modality)
    np.testing.assert_array_equal(beyond, before)


@pytest.mark.parametrize("modality", Modality)
def test_intensities_are_transformed_as_published(recorded: Arrays, modality: Modality) -> None:
    raw, network = recorded[f"{modality}_raw"], recorded[f"{modality}_net"]
    physical = denormalise(network, modality)
    span = np.ptp(recorded[f"{modality}_denormalised"])
    np.testing.assert_allclose(
        normalise(raw, modality), recorded[f"{modality}_normalised"], atol=1e-6
    )
    np.testing.assert_allclose(
        physical, recorded[f"{modality}_denormalised"], rtol=1e-6, atol=1e-6 * span
    )
    np.testing.assert_allclose(
        SCORING_RANGES[modality].clip(physical),
        recorded[f"{modality}_truncated"],
        rtol=1e-6,
        atol=1e-6 * span,
    )


def test_experts_combine_in_log_space_as_published(recorded: Arrays) -> None:
    gates = torch.from_numpy(recorded["moe_gates"])
    outputs = torch.from_numpy(recorded["moe_expert_out"]).transpose(0, 1)
    combined = log_space_sum(outputs, gates.log()).numpy()
    published = recorded["moe_combined"]
    # Where exp() gave infinity or nothing, the published code answers inf or log(2.2e-16).
    sound = np.isfinite(published) & (published > -36)
    assert sound.mean() > 0.5
    np.testing.assert_allclose(combined[sound], published[sound], rtol=1e-5, atol=1e-5)
    assert np.isfinite(combined[gates.numpy().sum(axis=1) > 0]).all()


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_squared_variation_is_the_published_one(recorded: Arrays, case: str) -> None:
    amounts = torch.from_numpy(recorded[f"cv_in_{case}"]).float()
    published = recorded[f"cv_out_{case}"].item()
    assert squared_variation(amounts).item() == pytest.approx(published, rel=1e-6)


@pytest.fixture
def large() -> tuple[NDArray[Any], NDArray[Any]]:
    generator = np.random.default_rng(0)
    target = generator.uniform(0, 100, (176, 193))
    return target + generator.normal(0, 10, target.shape), target


def test_the_multi_scale_score_is_the_weighted_product_of_five(
    large: tuple[NDArray[Any], NDArray[Any]],
) -> None:
    x, y = map(torch.from_numpy, large)
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        moments = local_moments(x, y)
        factor = moments.ssim(100) if scale == 4 else moments.contrast(100)
        product *= factor**weight
        x, y = (torch.nn.functional.avg_pool2d(image[None], 2)[0] for image in (x, y))
    assert ms_ssim(*large, 100) == pytest.approx(product)
    assert ms_ssim(*large, 100, local_moments(*large)) == pytest.approx(product)


def test_noise_hurts_coarse_scales_less(large: tuple[NDArray[Any], NDArray[Any]]) -> None:
    assert ssim(*large, 100) < ms_ssim(*large, 100) < 1
    assert ms_ssim(large[0], large[0], 100) == pytest.approx(1)
    assert ms_ssim(100 - large[0], large[0], 100) == 0
