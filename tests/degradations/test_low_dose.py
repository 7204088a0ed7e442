"""CT at low dose: noise of the right size, colour and place, and nothing but noise."""

import json

import numpy as np
import pytest

from amir.degradations.low_dose import lower_dose, measure_photons
from amir.degradations.parallel_beam import Beam, filtered_back_projection, line_integrals
from amir.degradations.photon_noise import WATER_PER_MM, attenuation, photon_noise
from amir.errors import InputError

SPACING = (1.4, 1.4, 5.0)


def distance_mm(shape=(256, 256), spacing=SPACING):
    y, x = ((np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, spacing[:2], strict=True))
    return np.hypot(y[:, None], x[None, :])


def water(shape=(256, 256), radius_mm=100, spacing=SPACING):
    disc = np.where(distance_mm(shape, spacing) < radius_mm, 0, -1000)
    return disc.astype(np.float32)


def noise_of(dose, seed=0, photons=1e6, electronic=0.0, image=None):
    generator = np.random.Generator(np.random.Philox(seed))
    return photon_noise(
        water() if image is None else image,
        generator,
        spacing_mm=SPACING[:2],
        photons=photons,
        dose=dose,
        electronic=electronic,
        views=720,
    )


@pytest.fixture(scope="module")
def scan_with_noise():
    """Three slices of water as 4e5 photons per ray show it."""
    # At half the dose the added variance is that of the full dose.
    return np.stack([water() + noise_of(0.5, seed=s, photons=4e5) for s in (11, 12, 13)])


def test_line_integrals_through_the_middle_of_water_are_its_diameter():
    beam = Beam((256, 256), SPACING[:2], 720, 1.4)
    through = attenuation(water(), beam)
    middle = through[:, beam.bins // 2]
    np.testing.assert_allclose(middle, 200 * WATER_PER_MM, rtol=0.02)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((96, 96), (2, 2)), ((91, 120), (2, 2)), ((120, 75), (1.5, 2.4))]
)
def test_filtered_back_projection_undoes_line_integrals(shape, spacing):
    smooth = np.exp(-((distance_mm(shape, spacing) / 40) ** 2)).astype(np.float32)
    beam = Beam(shape, spacing, 360, max(spacing))
    again = filtered_back_projection(line_integrals(smooth, beam), beam)
    np.testing.assert_allclose(again, smooth, atol=0.02)


@pytest.mark.parametrize("dose", [0.1, 0.25, 0.5])
def test_total_variance_goes_with_one_over_dose(scan_with_noise, dose):
    inside = distance_mm() < 60
    result = lower_dose(scan_with_noise, spacing_mm=SPACING, seeds=[1, 2, 3], dose=dose)
    own = (scan_with_noise - water())[:, inside].var()
    total = (result.degraded - water())[:, inside].var()
    assert total / own == pytest.approx(1 / dose, rel=0.1)


def test_the_photons_are_read_off_the_scan(scan_with_noise):
    found = measure_photons(scan_with_noise, spacing_mm=SPACING)
    assert found["photons_from"] == "scan"
    assert found["photons"] == pytest.approx(4e5, rel=0.1)


def test_the_mean_of_water_stays():
    inside = distance_mm() < 80
    assert abs(np.mean([noise_of(0.25, seed=s)[inside].mean() for s in range(3)])) < 0.5


def test_the_noise_has_the_spectrum_of_a_windowed_ramp():
    side = 96
    corner = slice(128 - side // 2, 128 + side // 2)
    patches = [noise_of(0.25, seed=s)[corner, corner] for s in range(12)]
    power = np.mean([np.abs(np.fft.fft2(p - p.mean())) ** 2 for p in patches], axis=0)
    along = np.fft.fftfreq(side)
    radius = np.hypot(along[:, None], along[None, :])
    rings = [(radius >= low) & (radius < low + 0.04) for low in np.arange(0.02, 0.38, 0.04)]
    levels = np.array([power[ring].mean() for ring in rings])
    middle = np.array([radius[ring].mean() for ring in rings])
    shape = middle * ((1 + np.cos(2 * np.pi * middle)) / 2) ** 2
    np.testing.assert_allclose(levels / shape / np.mean(levels / shape), 1, atol=0.15)


def test_noise_is_strongest_where_rays_are_long():
    noise = noise_of(0.25)
    at = distance_mm()
    assert noise[at < 40].std() > 1.3 * noise[(at > 90) & (at < 100)].std()


def test_electronic_noise_adds():
    quiet, loud = (noise_of(0.1, photons=2e4, electronic=e) for e in (0.0, 20.0))
    inside = distance_mm() < 60
    assert loud[inside].var() > 1.2 * quiet[inside].var()


def test_a_slice_depends_on_its_seed_and_not_on_its_neighbours():
    slices = np.stack([water(radius_mm=r)[::2, ::2] for r in (60, 80, 100)])
    options = {"spacing_mm": (2.8, 2.8, 5.0), "photons": 1e5}
    whole = lower_dose(slices, seeds=[5, 6, 7], **options)
    alone = lower_dose(slices[1:2], seeds=[6], **options)
    np.testing.assert_array_equal(alone.degraded[0], whole.degraded[1])
    assert np.abs(lower_dose(slices[1:2], seeds=[8], **options).degraded - alone.degraded).max() > 1


def test_padding_outside_the_circle_keeps_its_value_and_counts_as_air():
    shape, spacing = (96, 96), (4.0, 4.0, 5.0)
    outside = distance_mm(shape, spacing) > 190
    plain = water(shape, 100, spacing)
    padded = np.where(outside, -3024, plain).astype(np.float32)
    options = {"spacing_mm": spacing, "seeds": [1], "photons": 1e5}
    of_plain, of_padded = (lower_dose(s[None], **options).degraded[0] for s in (plain, padded))
    np.testing.assert_array_equal(of_padded[outside], -3024)
    np.testing.assert_array_equal(of_padded[~outside], of_plain[~outside])
    assert of_plain.min() >= -1024


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 63, 80), (1, 51, 33)])
def test_any_size_goes_through_and_nothing_is_altered(shape):
    slices = np.full(shape, -1000, np.float32)
    slices[:, 20:30, 10:25] = 50
    copy = slices.copy()
    result = lower_dose(slices, spacing_mm=(3.0, 2.5, 5.0), seeds=range(shape[0]))
    assert result.degraded.shape == shape
    assert result.degraded.dtype == np.float32
    assert np.isfinite(result.degraded).all()
    np.testing.assert_array_equal(slices, copy)
    np.testing.assert_array_equal(result.target, copy)


def test_a_slice_of_air_falls_back_on_the_setting():
    air = np.full((1, 48, 48), -1000, np.float32)
    result = lower_dose(air, spacing_mm=(3.0, 3.0, 5.0), seeds=[0], fallback_photons=3e5)
    assert result.parameters["photons"] == 3e5
    assert result.parameters["photons_from"] == "fallback"
    assert np.isfinite(result.degraded).all()
    json.dumps(result.parameters)


def test_metal_does_not_fill_the_slice_with_infinities():
    slices = np.full((1, 64, 64), -1000, np.float32)
    slices[0, 10:54, 10:54] = 3071
    result = lower_dose(slices, spacing_mm=(8.0, 8.0, 5.0), seeds=[0], photons=1e4)
    assert np.isfinite(result.degraded).all()


@pytest.mark.parametrize(
    ("options", "words"), [({"dose": 1.5}, "dose is 1.5"), ({"views": 7}, "views is 7")]
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        lower_dose(water()[None], spacing_mm=SPACING, seeds=[0], **options)


def test_seeds_must_match_the_slices():
    with pytest.raises(InputError, match="1 slices but 2 seeds"):
        lower_dose(water()[None], spacing_mm=SPACING, seeds=[0, 1])
