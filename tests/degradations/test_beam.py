"""Rays of either geometry measure what they cross, and filtered back-projection undoes them."""

import numpy as np
import pytest

from amir.degradations.beam import beam_through
from amir.degradations.parallel_beam import ParallelBeam
from amir.degradations.photon_noise import WATER_PER_MM, attenuation

GEOMETRIES = ["parallel", "fan"]
SIZES = [((96, 96), (2.0, 2.0)), ((91, 120), (2.0, 2.0)), ((120, 75), (1.5, 2.4))]


def distance_mm(shape, spacing, centre=(0.0, 0.0)):
    y, x = (
        (np.arange(n) - (n - 1) / 2) * d - c for n, d, c in zip(shape, spacing, centre, strict=True)
    )
    return np.hypot(y[:, None], x[None, :])


def water(shape, spacing, radius_mm, centre=(0.0, 0.0)):
    return np.where(distance_mm(shape, spacing, centre) < radius_mm, 0, -1000).astype(np.float32)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_rays_through_the_middle_of_water_cross_its_diameter(geometry):
    shape, spacing = (256, 256), (1.4, 1.4)
    beam = beam_through(shape, spacing, geometry=geometry)
    through = attenuation(water(shape, spacing, 100), beam)
    np.testing.assert_allclose(through[:, beam.bins // 2], 200 * WATER_PER_MM, rtol=0.02)


def test_a_fan_ray_crosses_the_chord_that_geometry_gives():
    """A disc off the centre, seen from each place of the source under each angle of the fan."""
    shape, spacing, centre, radius, source = (160, 160), (2.0, 2.0), (-30.0, 55.0), 60.0, 400.0
    beam = beam_through(shape, spacing, geometry="fan", views=48, source_to_isocentre_mm=source)
    through = attenuation(water(shape, spacing, radius, centre), beam) / WATER_PER_MM
    turn = 2 * np.pi * (np.arange(48) + 0.5)[:, None] / 48
    fan = beam.fan_angles()[None, :]
    # The source is at (x, y) = source * (sin, -cos); rays run along (-sin, cos) of turn - fan.
    from_source = np.array([55.0 - source * np.sin(turn), -30.0 + source * np.cos(turn)])
    aside = from_source[0] * np.cos(turn - fan) + from_source[1] * np.sin(turn - fan)
    chord = 2 * np.sqrt(np.maximum(radius**2 - aside**2, 0))
    clear = np.abs(np.abs(aside) - radius) > 6
    np.testing.assert_allclose(through[clear], chord[clear], atol=6)
    assert np.abs(through - chord)[clear].mean() < 0.6


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(("shape", "spacing"), SIZES)
def test_filtered_back_projection_undoes_line_integrals(shape, spacing, geometry):
    distance = distance_mm(shape, spacing, (10.0, -25.0))
    smooth = np.exp(-((distance / 30) ** 2)).astype(np.float32)
    fine = ParallelBeam(shape, spacing, 360, max(spacing))
    beam = beam_through(shape, spacing, geometry=geometry, views=360)
    projections = beam.resample(fine.line_integrals(smooth), fine)
    again = beam.filtered_back_projection(projections)
    np.testing.assert_allclose(again, smooth, atol=0.03)


def test_a_distant_source_sees_what_parallel_rays_see():
    shape, spacing = (64, 64), (2.0, 2.0)
    noise = np.random.default_rng(0).standard_normal((64, 64), np.float32)
    smooth = np.where(distance_mm(shape, spacing) < 50, 1 + 0.1 * noise, 0).astype(np.float32)
    fine = ParallelBeam(shape, spacing, 360, 2.0)
    images = []
    for geometry, views in (("parallel", 360), ("fan", 720)):
        beam = beam_through(
            shape, spacing, geometry=geometry, views=views, source_to_isocentre_mm=1e5
        )
        projections = beam.resample(fine.line_integrals(smooth), fine)
        images.append(beam.filtered_back_projection(projections))
    np.testing.assert_allclose(images[0], images[1], atol=0.02)


def degrees(beam):
    """The views as scikit-image counts them: it turns the other way."""
    return [-np.rad2deg(beam.angle(view)) for view in range(beam.views)]


def test_line_integrals_are_those_of_scikit_image():
    from skimage.transform import radon

    shape = (97, 97)
    smooth = np.exp(-((distance_mm(shape, (1, 1), (9.0, -14.0)) / 15) ** 2)).astype(np.float32)
    beam = ParallelBeam(shape, (1.0, 1.0), 60, 1.0)
    theirs = radon(smooth, theta=degrees(beam), circle=False).T
    margin = (beam.bins - theirs.shape[1]) // 2
    ours = beam.line_integrals(smooth)[:, margin : margin + theirs.shape[1]]
    np.testing.assert_allclose(ours, theirs, atol=0.005 * theirs.max())


@pytest.mark.parametrize(("grains", "tolerance"), [(1.5, 0.3), (4, 0.1)])
def test_filtered_back_projection_is_that_of_scikit_image(grains, tolerance):
    """Of noise, which shows the filter at all frequencies; they read linearly between bins."""
    from scipy import ndimage
    from skimage.transform import iradon

    beam = ParallelBeam((97, 97), (1.0, 1.0), 180, 1.0)
    noise = np.random.default_rng(0).standard_normal((180, beam.bins), np.float32)
    noise = ndimage.gaussian_filter1d(noise, grains, axis=1)
    theirs = iradon(noise.T, theta=degrees(beam), filter_name="hann", output_size=97, circle=False)
    ours = beam.filtered_back_projection(noise)
    np.testing.assert_allclose(ours, theirs, atol=tolerance * theirs.std())
