"""What contradicts the measured data, and what the data cannot see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from amir.degradations.kspace import crop_kspace, keep_central_kspace
from amir.degradations.low_count import thin_counts
from amir.degradations.low_dose import lower_dose
from amir.evaluation.quantities.hallucination import (
    kspace_change,
    projection_change_ct,
    projection_change_pet,
)

Image = NDArray[np.float32]
MM = (1.0, 1.0, 3.0)


def rms(image: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(image, dtype=np.float64))))


def disc(size: int, radius: float) -> Image:
    place = np.arange(size) - (size - 1) / 2
    return (np.hypot(place[:, None], place) < radius).astype(np.float32)


@pytest.fixture(scope="module")
def mri() -> tuple[Image, Image]:
    """(degraded, target)"""
    target = 100 * disc(64, 20) + 50 * disc(64, 8)
    return crop_kspace(target, factor=4), target


@pytest.fixture(scope="module")
def ct() -> tuple[Image, Image, dict[str, Any]]:
    """(degraded, target, parameters)"""
    water = (1000 * disc(96, 40) - 1000).astype(np.float32)
    outcome = lower_dose(water[None], spacing_mm=MM, seeds=[3], photons=2e5, views=120)
    return outcome.degraded[0], outcome.target[0], outcome.parameters


@pytest.fixture(scope="module")
def pet() -> tuple[Image, Image, dict[str, Any]]:
    activity = np.repeat(2 * disc(48, 15)[None], 3, axis=0)
    options = {"views": 48, "subsets": 6, "iterations": 2}
    outcome = thin_counts(activity, spacing_mm=(4.0, 4.0, 4.0), seeds=[1, 2, 3], **options)
    return outcome.degraded, outcome.target, outcome.parameters


@pytest.mark.parametrize("amount", [0.5, 7.0])
def test_detail_added_in_the_null_space_is_found_outside_with_exactly_its_energy(
    mri: tuple[Image, Image], amount: float
) -> None:
    degraded, target = mri
    noise = np.random.default_rng(0).standard_normal((64, 64))
    unseen = np.real(noise - keep_central_kspace(noise, factor=4))
    # The unpaired line of an even number of kept lines has no mirror image: take it out twice.
    unseen = np.real(unseen - keep_central_kspace(unseen, factor=4))
    inside_rest = rms(np.abs(keep_central_kspace(unseen, factor=4)))
    invented = (amount * unseen).astype(np.float32)
    found = kspace_change(degraded, degraded + invented, target, factor=4)
    assert found["inside"] == pytest.approx(amount * inside_rest, abs=1e-4)
    assert found["outside"] ** 2 + found["inside"] ** 2 == pytest.approx(rms(invented) ** 2, 1e-4)
    assert found["outside"] == pytest.approx(rms(invented), rel=0.02)


def test_a_change_of_what_was_measured_is_found_inside(mri: tuple[Image, Image]) -> None:
    degraded, target = mri
    found = kspace_change(degraded, degraded + np.float32(5), target, factor=4)
    assert found["inside"] == pytest.approx(5, rel=1e-4)
    assert found["outside"] == pytest.approx(0, abs=1e-3)


def test_the_target_has_no_free_error_and_the_input_all_of_the_missing_detail(
    mri: tuple[Image, Image],
) -> None:
    degraded, target = mri
    perfect = kspace_change(degraded, target, target, factor=4)
    assert perfect["free_error"] == 0
    assert (perfect["inside"], perfect["outside"]) == (
        perfect["inside_target"],
        perfect["outside_target"],
    )
    untouched = kspace_change(degraded, degraded, target, factor=4)
    assert untouched["free_error"] == pytest.approx(perfect["outside_target"])
    assert untouched["inside"] == untouched["outside"] == 0


def ct_change(ct: tuple[Image, Image, dict[str, Any]], restored: Image) -> dict[str, float]:
    degraded, target, parameters = ct
    return projection_change_ct(
        degraded, restored, target, spacing_mm=MM[:2], parameters=parameters
    )


def test_a_ct_change_is_measured_in_the_noise_of_the_rays(ct: Any) -> None:
    degraded, target, _ = ct
    assert ct_change(ct, degraded)["residual"] == 0
    found = ct_change(ct, target)
    assert found["residual"] == found["residual_target"]
    # Removing just the noise is within the noise: reconstruction has smoothed it.
    assert 0.05 < found["residual"] < 1
    twice = ct_change(ct, degraded + 2 * (target - degraded))
    assert twice["residual"] == pytest.approx(2 * found["residual"], rel=1e-3)


def test_an_invented_ct_structure_exceeds_the_noise(ct: Any) -> None:
    _, target, _ = ct
    lesion = target + 400 * disc(96, 8)
    assert ct_change(ct, lesion)["residual"] > 3 * ct_change(ct, target)["residual"]


def pet_change(pet: Any, restored: Image) -> dict[str, float]:
    degraded, target, parameters = pet
    return projection_change_pet(
        degraded, restored, target, spacing_mm=(4.0, 4.0, 4.0), parameters=parameters
    )


def test_a_pet_change_is_measured_in_the_counting_noise(pet: Any) -> None:
    degraded, target, _ = pet
    assert pet_change(pet, degraded)["residual"] == 0
    found = pet_change(pet, target)
    assert found["residual"] == found["residual_target"]
    assert 0.05 < found["residual"] < 2
    invented = degraded + 10 * disc(48, 5)
    assert pet_change(pet, invented)["residual"] > 3 * found["residual"]
