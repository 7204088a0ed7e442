"""PET at low count: the mean stays, the variance grows by the thinning, air stays air."""

import json

import numpy as np
import pytest

from amir.degradations.body import WATER_PER_MM, survival_of_disc
from amir.degradations.low_count import thin_counts
from amir.errors import InputError

SPACING = (5.0, 5.0, 4.0)


def body(n=6, shape=(48, 48), radius=16):
    y, x = (np.arange(size) - (size - 1) / 2 for size in shape)
    disc = np.hypot(y[:, None], x[None, :]) < radius
    return np.repeat(np.where(disc, 2.0, 0.0)[None], n, axis=0).astype(np.float32)


def inside(radius=10, shape=(48, 48)):
    y, x = (np.arange(size) - (size - 1) / 2 for size in shape)
    return np.hypot(y[:, None], x[None, :]) < radius


@pytest.fixture(scope="module")
def thinned():
    return thin_counts(body(24), spacing_mm=SPACING, seeds=range(24), post_filter_mm=0)


MODELS = [
    {},
    {"attenuation": "water"},
    {"background": 0.4},
    {"attenuation": "water", "background": 0.4},
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_both_doses_keep_the_mean_activity(model):
    result = thin_counts(body(24), spacing_mm=SPACING, seeds=range(24), post_filter_mm=0, **model)
    # Activity is never negative, so the noise of a background leaves some in the air.
    tolerance = 0.02 if "background" in model else 0.01
    for stack in (result.target, result.degraded):
        assert stack[:, inside(13)].mean() == pytest.approx(2.0, rel=0.01)
        assert stack.mean() == pytest.approx(body().mean(), rel=tolerance)


def variances(where, **options):
    """Of the full and of the thinned reconstruction against one of hardly any noise."""
    options = {"iterations": 2, "post_filter_mm": 0, "full_counts": 1e7} | options
    slices = body(24, radius=20)
    clean = thin_counts(
        slices, spacing_mm=SPACING, seeds=range(24), **(options | {"full_counts": 1e12})
    ).target
    result = thin_counts(slices, spacing_mm=SPACING, seeds=range(24), **options)
    return [(stack - clean)[:, where].var() for stack in (result.target, result.degraded)]


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("reduction", [4, 12])
def test_variance_grows_with_the_thinning(model, reduction):
    """Where counts are plenty OSEM is nearly linear, so the variance goes with 1 / counts."""
    full, low = variances(inside(), dose_reduction=reduction, **model)
    assert low / full == pytest.approx(reduction, rel=0.1)


def test_variance_in_the_middle_grows_with_what_its_rays_lose():
    """A ray of survival a has variance 1 / a; the reference slice still gives full_counts."""
    plain, water = (variances(inside(5), attenuation=kind)[0] for kind in ("none", "water"))
    lost = np.exp(-WATER_PER_MM * 2 * 20 * 5.0)
    assert water / plain == pytest.approx(survival_of_disc(40_000) / lost, rel=0.2)


def test_a_background_is_noise_once_it_has_converged():
    """Until then it slows OSEM down, which calms the image."""
    options = {"iterations": 40, "views": 60}
    clean, noisy = (variances(inside(), background=b, **options)[0] for b in (0.0, 0.8))
    assert noisy > 1.3 * clean


def test_more_counts_give_less_noise():
    noises = [
        thin_counts(body(), spacing_mm=SPACING, seeds=range(6), full_counts=counts)
        .target[:, inside()]
        .std()
        for counts in (3e4, 3e5, 3e6)
    ]
    assert noises[0] > noises[1] > noises[2]


def test_no_reduction_gives_the_target_itself():
    result = thin_counts(body(2), spacing_mm=SPACING, seeds=[1, 2], dose_reduction=1)
    np.testing.assert_array_equal(result.degraded, result.target)


def test_the_degraded_scan_is_noisier_than_the_target(thinned):
    assert thinned.degraded[:, inside()].std() > 2 * thinned.target[:, inside()].std()


def test_activity_at_the_edge_of_the_box_stays_in_place():
    box = np.full((4, 30, 28), 1.5, np.float32)
    result = thin_counts(box, spacing_mm=SPACING, seeds=range(4), full_counts=1e8)
    assert result.target.shape == box.shape
    assert result.target[:, 4:-4, 4:-4].mean() == pytest.approx(1.5, rel=0.02)
    assert result.target.sum() == pytest.approx(box.sum(), rel=0.06)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_slice_without_activity_stays_zero(model):
    slices = body(3)
    slices[1] = 0
    options = {"spacing_mm": SPACING, "seeds": [1, 2, 3], "post_filter_mm": 0, **model}
    result = thin_counts(slices, **options)
    assert not result.target[1].any()
    assert not result.degraded[1].any()
    assert np.isfinite(result.degraded).all()


@pytest.mark.parametrize("start", [0, 1, 33])
@pytest.mark.parametrize("model", [MODELS[0], MODELS[3]], ids=str)
def test_without_the_post_filter_a_slice_stands_alone(start, model):
    slices = body(35, (24, 24), 8)
    options = {"spacing_mm": SPACING, "post_filter_mm": 0, "views": 60, **model}
    whole = thin_counts(slices, seeds=range(35), **options)
    alone = thin_counts(slices[start : start + 1], seeds=[start], **options)
    np.testing.assert_array_equal(alone.degraded[0], whole.degraded[start])
    np.testing.assert_array_equal(alone.target[0], whole.target[start])


def test_the_same_seeds_give_the_same_and_others_another():
    options = {"spacing_mm": SPACING, "views": 60}
    first, again, other = (
        thin_counts(body(2), seeds=seeds, **options) for seeds in ([1, 2], [1, 2], [3, 4])
    )
    np.testing.assert_array_equal(first.degraded, again.degraded)
    assert np.abs(first.degraded - other.degraded).max() > 0.01


def test_the_post_filter_keeps_the_sum_and_calms_the_noise(thinned):
    smooth = thin_counts(body(24), spacing_mm=SPACING, seeds=range(24), post_filter_mm=8)
    assert smooth.degraded.sum() == pytest.approx(thinned.degraded.sum(), rel=0.01)
    assert smooth.degraded[:, inside()].std() < 0.5 * thinned.degraded[:, inside()].std()


def test_the_source_can_be_the_target():
    slices = body(2)
    result = thin_counts(slices, spacing_mm=SPACING, seeds=[1, 2], target="source")
    np.testing.assert_array_equal(result.target, slices)
    assert result.parameters["target"] == "source"
    json.dumps(result.parameters)


@pytest.mark.parametrize("shape", [(1, 20, 20), (2, 17, 26)])
def test_any_size_goes_through_and_nothing_is_altered(shape):
    slices = np.abs(np.random.default_rng(0).normal(1, 1, shape)).astype(np.float32)
    copy = slices.copy()
    result = thin_counts(slices, spacing_mm=(4.0, 3.0, 4.0), seeds=range(shape[0]), views=36)
    assert result.degraded.shape == result.target.shape == shape
    assert result.degraded.dtype == result.target.dtype == np.float32
    assert np.isfinite(result.degraded).all()
    np.testing.assert_array_equal(slices, copy)


@pytest.mark.parametrize(
    ("option", "value"), [("dose_reduction", 0.5), ("background", 1.0), ("subsets", 200)]
)
def test_impossible_options_are_refused(option, value):
    with pytest.raises(InputError, match=f"{option} is"):
        thin_counts(body(1), spacing_mm=SPACING, seeds=[0], **{option: value})


def test_the_liver_noise_of_a_real_scan_is_reproduced(real_scans):
    """The check behind the default counts; the box is cut from the liver of a whole body scan."""
    from scipy import ndimage

    from amir.imaging import read_scan, to_plane

    stack = to_plane(read_scan(real_scans / "pet" / "sub-p01_wholebodyFDG_dicom"), "axial")
    slices = stack.slices[135:177]
    result = thin_counts(slices, spacing_mm=stack.spacing_mm, seeds=range(len(slices)))

    def fine_noise(volume):
        liver = (slice(13, 29), slice(50, 66), slice(44, 56))
        fine = volume - ndimage.gaussian_filter(volume, 4)
        return fine[liver].std() / volume[liver].mean()

    assert fine_noise(result.target) == pytest.approx(fine_noise(slices), rel=0.15)
