"""CT at low dose: noise of the right size, colour and place, and nothing but noise."""

import json

import numpy as np
import pytest

from amir.degradations.beam import beam_through
from amir.degradations.low_dose import lower_dose, measure_photons
from amir.degradations.photon_noise import photon_noise
from amir.errors import InputError

GEOMETRIES = ["parallel", "fan"]
SPACING = (1.4, 1.4, 5.0)


def distance_mm(shape=(256, 256), spacing=SPACING):
    y, x = ((np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, spacing[:2], strict=True))
    return np.hypot(y[:, None], x[None, :])


def water(shape=(256, 256), radius_mm=100, spacing=SPACING):
    disc = np.where(distance_mm(shape, spacing) < radius_mm, 0, -1000)
    return disc.astype(np.float32)


def noise_of(dose, seed=0, photons=1e6, electronic=0.0, geometry="parallel"):
    return photon_noise(
        water(),
        np.random.Generator(np.random.Philox(seed)),
        beam=beam_through((256, 256), SPACING, geometry=geometry),
        photons=photons,
        dose=dose,
        electronic=electronic,
    )


@pytest.fixture(scope="module", params=GEOMETRIES)
def scan_with_noise(request):
    """Three slices of water as 4e5 photons per ray show it, and the geometry."""
    # At half the dose the added variance is that of the full dose.
    noise = [noise_of(0.5, seed=s, photons=4e5, geometry=request.param) for s in (11, 12, 13)]
    return np.stack([water() + n for n in noise]), request.param


@pytest.mark.parametrize("dose", [0.1, 0.25, 0.5])
def test_total_variance_goes_with_one_over_dose(scan_with_noise, dose):
    scan, geometry = scan_with_noise
    inside = distance_mm() < 60
    options = {"spacing_mm": SPACING, "electronic": 0.0, "geometry": geometry}
    result = lower_dose(scan, seeds=[1, 2, 3], dose=dose, **options)
    own = (scan - water())[:, inside].var()
    total = (result.degraded - water())[:, inside].var()
    assert total / own == pytest.approx(1 / dose, rel=0.1)


def test_the_photons_are_read_off_the_scan(scan_with_noise):
    scan, geometry = scan_with_noise
    found = measure_photons(scan, beam_through(scan.shape, SPACING, geometry=geometry))
    assert found["photons_from"] == "scan"
    assert found["photons"] == pytest.approx(4e5, rel=0.1)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("dose", [0.1, 0.5])
def test_the_mean_of_water_stays(geometry, dose):
    inside = distance_mm() < 80
    slices = np.repeat(water()[None], 3, axis=0)
    options = {"spacing_mm": SPACING, "photons": 4e5, "geometry": geometry}
    result = lower_dose(slices, seeds=[1, 2, 3], dose=dose, **options)
    assert abs(result.degraded[:, inside].mean()) < 0.5


@pytest.mark.parametrize(("geometry", "end"), [("parallel", 0.38), ("fan", 0.34)])
def test_the_noise_has_the_spectrum_of_a_windowed_ramp(geometry, end):
    """Off its middle a fan's bins are not one pixel wide, which smears the window's end."""
    side = 96
    corner = slice(128 - side // 2, 128 + side // 2)
    patches = [noise_of(0.25, seed=s, geometry=geometry)[corner, corner] for s in range(12)]
    power = np.mean([np.abs(np.fft.fft2(p - p.mean())) ** 2 for p in patches], axis=0)
    along = np.fft.fftfreq(side)
    radius = np.hypot(along[:, None], along[None, :])
    rings = [(radius >= low) & (radius < low + 0.04) for low in np.arange(0.02, end, 0.04)]
    levels = np.array([power[ring].mean() for ring in rings])
    middle = np.array([radius[ring].mean() for ring in rings])
    shape = middle * ((1 + np.cos(2 * np.pi * middle)) / 2) ** 2
    np.testing.assert_allclose(levels / shape / np.mean(levels / shape), 1, atol=0.15)


def spokes(geometry, views):
    """How strongly the power of a full-size slice's noise beats with the angle between views.

    The share of the spectrum's first harmonic along the angle, on a ring below the window's end: of
    few views each leaves its own spoke, of enough they merge and statistics remain, about 1 %.
    """
    size, spacing = (512, 512), (0.7, 0.7)
    image = water(size, 154, spacing)
    beam = beam_through(size, spacing, geometry=geometry, views=views)
    generator = np.random.Generator(np.random.Philox(3))
    noise = photon_noise(image, generator, beam=beam, photons=2e5, dose=0.5, electronic=0)
    power = np.abs(np.fft.fft2(noise * (distance_mm(size, spacing) < 140))) ** 2
    along = np.fft.fftfreq(512)
    ring = np.abs(np.hypot(along[:, None], along[None, :]) - 0.35) < 0.03
    angle = np.arctan2(along[:, None], along[None, :])[ring]
    return abs(np.mean(power[ring] * np.exp(2j * angle * views))) / power[ring].mean()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_spectrum_of_a_full_size_slice_is_free_of_view_aliasing(geometry):
    assert spokes(geometry, 720) < 0.04


def test_too_few_views_would_show_in_the_spectrum():
    assert spokes("parallel", 180) > 0.3


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


def test_the_geometry_is_told():
    options = {"spacing_mm": (4.0, 4.0, 5.0), "seeds": [1], "photons": 1e5}
    slices = water((96, 96), 100, (4.0, 4.0))[None]
    parallel = lower_dose(slices, **options).parameters
    fan = lower_dose(slices, geometry="fan", source_to_isocentre_mm=600, **options).parameters
    assert (parallel["geometry"], fan["geometry"]) == ("parallel", "fan")
    assert fan["source_to_isocentre_mm"] == 600


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
    ("options", "words"),
    [
        ({"dose": 1.5}, "dose is 1.5"),
        ({"views": 7}, "views is 7"),
        ({"geometry": "fan", "views": 90}, "views is 90"),
        ({"geometry": "fan", "source_to_isocentre_mm": 200}, "source_to_isocentre_mm is 200"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        lower_dose(water()[None], spacing_mm=SPACING, seeds=[0], **options)


def test_seeds_must_match_the_slices():
    with pytest.raises(InputError, match="1 slices but 2 seeds"):
        lower_dose(water()[None], spacing_mm=SPACING, seeds=[0, 1])
