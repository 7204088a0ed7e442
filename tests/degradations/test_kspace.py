"""MRI at low resolution obeys the laws of the Fourier transform."""

import numpy as np
import pytest
from numpy.fft import fft2, fftfreq

from amir.degradations.kspace import crop_kspace, keep_central_kspace, lower_resolution
from amir.errors import InputError

SHAPES = [(64, 64), (63, 64), (61, 57), (30, 50), (7, 5), (1, 9)]


def some_image(*shape):
    return np.random.default_rng(3).random(shape, np.float32) * 1000


def kept_mask(shape, factor):
    return np.abs(fft2(keep_central_kspace(some_image(*shape), factor=factor))) > 1e-1


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_kept_lines_are_untouched_and_the_others_are_zero(shape, factor):
    image = some_image(*shape)
    factor = min(factor, *shape)
    before, after = fft2(image), fft2(keep_central_kspace(image, factor=factor))
    kept = kept_mask(shape, factor)
    assert kept[0, 0]
    np.testing.assert_allclose(after[kept], before[kept], rtol=1e-3)
    assert np.abs(after[~kept]).max(initial=0) < 1e-1


def test_a_quarter_of_each_axis_keeps_6_25_percent():
    assert kept_mask((64, 128), 4).mean() == pytest.approx(0.0625)


@pytest.mark.parametrize(("size", "count"), [(64, 16), (60, 15), (61, 15), (63, 16), (5, 1)])
def test_the_kept_lines_are_the_nearest_to_dc(size, count):
    lines = fftfreq(size, 1 / size)[kept_mask((size, size), 4)[0]]
    assert len(lines) == count
    assert sorted(lines) == list(range(-(count // 2), -(count // 2) + count))


@pytest.mark.parametrize(("factor", "lines"), [((2, 4), (30, 15)), ((1, 3), (61, 20))])
def test_each_axis_may_have_its_own_factor(factor, lines):
    kept = kept_mask((61, 60), factor)
    assert (kept.any(axis=1).sum(), kept.any(axis=0).sum()) == lines
    assert kept.sum() == kept.any(axis=1).sum() * kept.any(axis=0).sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_energy_is_that_of_the_kept_lines(shape):
    image = some_image(*shape)
    factor = min(3, *shape)
    energy = np.sum(np.abs(fft2(image)[kept_mask(shape, factor)]) ** 2) / image.size
    np.testing.assert_allclose(np.sum(crop_kspace(image, factor=factor) ** 2), energy, rtol=1e-4)


def test_the_size_and_the_type_stay():
    image = some_image(2, 3, 40, 31)
    cropped = crop_kspace(image)
    assert cropped.shape == image.shape
    assert cropped.dtype == np.float32
    np.testing.assert_array_equal(cropped[1, 2], crop_kspace(image[1, 2]))


def test_a_factor_of_one_changes_nothing():
    np.testing.assert_allclose(crop_kspace(some_image(33, 20), factor=1), some_image(33, 20), 1e-3)


def test_a_complex_image_keeps_what_its_magnitude_would_lose():
    y = np.arange(64) / 64
    wave = np.exp(2j * np.pi * 5 * y)[:, None] * np.ones((64, 64))
    np.testing.assert_allclose(crop_kspace(wave), 1, atol=1e-5)


@pytest.mark.parametrize(("factor", "share"), [(1, 1), (2, 4), ((1, 4), 4), (4, 16)])
def test_the_background_of_noise_is_rayleigh_with_the_share_of_the_kept_lines(factor, share):
    background = crop_kspace(np.zeros((512, 512), np.float32), factor=factor, noise=8.0, seed=1)
    deviation = 8 / np.sqrt(share)
    assert background.mean() == pytest.approx(deviation * np.sqrt(np.pi / 2), rel=0.02)
    assert background.mean() / background.std() == pytest.approx(
        np.sqrt(np.pi / (4 - np.pi)), rel=0.02
    )


@pytest.mark.parametrize("signal", [0.0, 5.0, 40.0])
def test_noise_adds_twice_its_variance_to_the_squared_magnitude(signal):
    """Rician: the mean of M^2 is A^2 + 2 sigma^2, whatever the signal."""
    flat = np.full((256, 256), signal, np.float32)
    noisy = crop_kspace(flat, factor=1, noise=5.0, seed=2).astype(np.float64)
    assert np.mean(noisy**2) == pytest.approx(signal**2 + 2 * 5.0**2, rel=0.02)


def test_complex_slices_keep_their_phase_and_the_answer_says_so():
    phase = np.exp(1j * np.linspace(0, 3, 32))[:, None]
    magnitude = some_image(2, 32, 32)
    options = {"spacing_mm": (1.0, 1.0, 5.0), "seeds": [1, 2]}
    measured = lower_resolution(magnitude * phase, **options)
    assumed = lower_resolution(magnitude, **options)
    assert (measured.parameters["phase"], assumed.parameters["phase"]) == ("measured", "zero")
    np.testing.assert_allclose(measured.target, magnitude, rtol=1e-5)
    np.testing.assert_allclose(
        measured.degraded, np.abs(keep_central_kspace(magnitude * phase, factor=4)), rtol=1e-5
    )
    assert measured.degraded.dtype == np.float32
    assert np.abs(measured.degraded - assumed.degraded).max() > 10


def test_noise_follows_its_seed_alone():
    slices = some_image(3, 32, 32)
    options = {"spacing_mm": (1.0, 1.0, 5.0), "noise": 0.05, "signal": 900.0}
    whole = lower_resolution(slices, seeds=[1, 2, 3], **options)
    part = lower_resolution(slices[1:2], seeds=[2], **options)
    np.testing.assert_array_equal(part.degraded[0], whole.degraded[1])
    other = lower_resolution(slices[1:2], seeds=[9], **options)
    assert np.abs(other.degraded - part.degraded).max() > 1


def test_noise_without_a_seed_is_refused():
    with pytest.raises(ValueError, match="seed"):
        crop_kspace(some_image(8, 8), noise=1.0)


def test_the_noise_scales_with_the_scan():
    slices = some_image(1, 32, 32)
    options = {"spacing_mm": (1.0, 1.0, 5.0), "seeds": [4], "noise": 0.03}
    once, sevenfold = (lower_resolution(slices * k, **options).degraded for k in (1, 7))
    np.testing.assert_allclose(sevenfold, 7 * once, rtol=1e-4)


@pytest.mark.parametrize("factor", [9, (2, 9), (9, 2)])
def test_an_impossible_factor_is_refused(factor):
    with pytest.raises(InputError, match="factor is 9"):
        crop_kspace(some_image(8, 8), factor=factor)


def test_slices_are_not_altered():
    slices = some_image(2, 16, 16)
    copy = slices.copy()
    result = lower_resolution(slices, spacing_mm=(1.0, 1.0, 1.0), seeds=[0, 1])
    np.testing.assert_array_equal(slices, copy)
    np.testing.assert_array_equal(result.target, copy)
