"""The MR intensity scale: from the degraded scan alone, and in proportion to it."""

from __future__ import annotations

import numpy as np
import pytest

from amir.config import IntensityScale
from amir.errors import InputError
from amir.intensity import intensity_scale
from amir.modality import Modality

PERCENTILE = IntensityScale()


@pytest.fixture
def head() -> np.ndarray:
    """A bright sphere in air with a little noise."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 24)] * 3))
    noise = np.random.default_rng(0).normal(0, 5, (24, 24, 24))
    return np.where((grid**2).sum(0) < 0.5, 400 + noise, np.abs(noise)).astype(np.float32)


def test_the_foregrounds_percentile_lands_on_the_set_point(head: np.ndarray) -> None:
    scale = intensity_scale(head, Modality.MRI, PERCENTILE)
    top = np.percentile(head[head > 200], PERCENTILE.percentile)
    assert scale * top == pytest.approx(PERCENTILE.set_point, rel=1e-5)


@pytest.mark.parametrize("factor", [7.0, 1e-3, 1e4])
def test_a_brighter_scan_gets_a_smaller_scale(factor: float, head: np.ndarray) -> None:
    scale = intensity_scale(head, Modality.MRI, PERCENTILE)
    brighter = intensity_scale(head * np.float32(factor), Modality.MRI, PERCENTILE)
    assert brighter * factor == pytest.approx(scale, rel=1e-4)


def test_more_air_around_the_head_changes_nothing(head: np.ndarray) -> None:
    scale = intensity_scale(head, Modality.MRI, PERCENTILE)
    padded = np.pad(head, 12)
    assert intensity_scale(padded, Modality.MRI, PERCENTILE) == pytest.approx(scale, rel=1e-3)


@pytest.mark.parametrize("modality", [Modality.CT, Modality.PET])
def test_physical_units_are_not_scaled(modality: Modality, head: np.ndarray) -> None:
    assert intensity_scale(head, modality, PERCENTILE) == 1.0


def test_the_papers_numbers_are_used_as_they_are(head: np.ndarray) -> None:
    assert intensity_scale(head, Modality.MRI, IntensityScale(scale="fixed")) == 1.0


@pytest.mark.parametrize("value", [0.0, -30.0])
def test_a_scan_without_a_positive_voxel_keeps_its_numbers(value: float) -> None:
    scan = np.full((4, 4, 4), value, np.float32)
    assert intensity_scale(scan, Modality.MRI, PERCENTILE) == 1.0
    scan[0, 0, 0] = value - 1
    assert intensity_scale(scan, Modality.MRI, PERCENTILE) == 1.0


@pytest.mark.parametrize("value", [3.0, 12345.6])
def test_a_constant_scan_lands_on_the_set_point(value: float) -> None:
    scan = np.full((4, 4, 4), value, np.float32)
    assert intensity_scale(scan, Modality.MRI, PERCENTILE) * value == pytest.approx(1500)
    scan[0, 0, 0] = np.nextafter(np.float32(value), np.float32(0))
    assert intensity_scale(scan, Modality.MRI, PERCENTILE) * value == pytest.approx(1500)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_numbers_that_no_scanner_stores_are_refused(factor: float, head: np.ndarray) -> None:
    with pytest.raises(InputError) as caught:
        intensity_scale(head * np.float32(factor), Modality.MRI, PERCENTILE)
    assert caught.value.code == "unsupported"


def test_a_voxel_far_below_all_others_is_refused(head: np.ndarray) -> None:
    with pytest.raises(InputError):
        intensity_scale(np.append(head, np.float32(-3e38)), Modality.MRI, PERCENTILE)
