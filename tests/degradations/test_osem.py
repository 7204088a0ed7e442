"""The projector measures areas, and OSEM finds the activity that explains the counts."""

import numpy as np
import pytest

from amir.degradations.osem import log_likelihood, osem
from amir.degradations.projector import system_matrix

VIEWS = 48


@pytest.fixture(scope="module")
def projector():
    return system_matrix((32, 32), (4.0, 4.0), VIEWS)


@pytest.fixture(scope="module")
def activity():
    """A warm disc with a hot and a cold spot, [32 * 32, 1]."""
    y, x = np.mgrid[:32, :32] - 15.5
    image = np.where(np.hypot(x, y) < 12, 2.0, 0.0)
    image[np.hypot(x - 5, y) < 3] = 6.0
    image[np.hypot(x + 5, y) < 3] = 0.5
    return image.reshape(-1, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((20, 20), (1.0, 1.0)), ((15, 22), (2.0, 2.0)), ((9, 14), (3.0, 2.0))]
)
def test_every_view_sees_all_of_the_activity(shape, spacing):
    matrix = system_matrix(shape, spacing, 24)
    image = np.random.default_rng(0).random(shape[0] * shape[1]).astype(np.float32)
    per_view = (matrix @ image).reshape(24, -1).sum(axis=1) * min(spacing)
    np.testing.assert_allclose(per_view, image.sum() * spacing[0] * spacing[1], rtol=1e-4)


def test_the_first_view_is_the_sum_over_rows():
    matrix = system_matrix((16, 16), (2.0, 2.0), 8)
    image = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    first = (matrix @ image.ravel()).reshape(8, -1)[0]
    total = np.zeros_like(first)
    half = (len(first) - 16) / 2
    total[int(half) : int(half) + 16] += image.sum(axis=0) * 2 * (1 - half % 1)
    total[int(half) + 1 : int(half) + 17] += image.sum(axis=0) * 2 * (half % 1)
    np.testing.assert_allclose(first, total, rtol=1e-3, atol=1e-2)


def test_a_disc_projects_to_its_chords(projector, activity):
    y, x = np.mgrid[:64, :64] - 31.5
    disc = (np.hypot(x, y) < 24).astype(np.float32)
    matrix = system_matrix((64, 64), (1.0, 1.0), 30)
    views = (matrix @ disc.ravel()).reshape(30, -1)
    position = np.arange(views.shape[1]) - (views.shape[1] - 1) / 2
    chord = 2 * np.sqrt(np.maximum(24**2 - position**2, 0))
    assert np.abs(views - chord)[:, np.abs(position) < 22].max() < 2.5
    assert np.abs(views.mean(axis=0) - chord)[np.abs(position) < 22].max() < 0.6


def model(projector, activity, case):
    """What stands between activity and counts: {survival, background}, [views * bins, 1] each."""
    trues = projector @ activity
    survival = survival_of(activity > 0.1, projector) if "survival" in case else None
    background = np.full_like(trues, trues.mean() / 2) if "background" in case else None
    return {"survival": survival, "background": background}


def survival_of(mask, projector):
    return np.exp(-0.02 * (projector @ mask.astype(np.float32))).astype(np.float32)


def expected_counts(projector, activity, survival, background):
    trues = projector @ activity
    trues = trues if survival is None else trues * survival
    return trues if background is None else trues + background


CASES = ["plain", "survival", "background", "survival and background"]


@pytest.mark.parametrize("case", CASES)
def test_likelihood_never_falls_with_one_subset(projector, activity, case):
    known = model(projector, activity, case)
    generator = np.random.default_rng(1)
    if known["background"] is not None:
        known["background"] = known["background"] * np.float32(0.2)
    expected = expected_counts(projector, activity * np.float32(0.2), **known)
    counts = generator.poisson(expected).astype(np.float32)
    trail = [
        log_likelihood(
            counts,
            projector,
            osem(counts, projector, views=VIEWS, iterations=k, subsets=1, **known),
            **known,
        )
        for k in range(1, 15)
    ]
    assert np.all(np.diff(trail) > 0)


@pytest.mark.parametrize("case", CASES)
def test_the_known_losses_and_additions_leave_the_activity_as_it_is(projector, activity, case):
    known = model(projector, activity, case)
    counts = expected_counts(projector, activity, **known)
    found = osem(counts, projector, views=VIEWS, iterations=60, subsets=6, **known)
    assert np.linalg.norm(found - activity) < 0.1 * np.linalg.norm(activity)
    assert found.sum() == pytest.approx(activity.sum(), rel=0.01)


@pytest.mark.parametrize("case", CASES)
def test_the_total_is_that_of_all_counts_and_not_of_the_last_subset(projector, activity, case):
    """Of few counts: a twelfth of them would leave the total uncertain by sqrt(12) times more."""
    known = model(projector, activity * np.float32(0.01), case)
    known = {name: None if v is None else np.repeat(v, 50, axis=1) for name, v in known.items()}
    many = np.repeat(activity * np.float32(0.01), 50, axis=1)
    expected = expected_counts(projector, many, **known)
    counts = np.random.default_rng(2).poisson(expected).astype(np.float32)
    found = osem(counts, projector, views=VIEWS, iterations=2, subsets=12, **known)
    seen = (
        projector @ found if known["survival"] is None else (projector @ found) * known["survival"]
    )
    spread = seen.sum(axis=0).std() / seen.sum(axis=0).mean()
    trues = (expected - (0 if known["background"] is None else known["background"])).sum(axis=0)[0]
    least = np.sqrt(expected.sum(axis=0)[0]) / trues
    assert spread < 1.5 * least


def test_noise_free_counts_give_the_activity_back(projector, activity):
    counts = projector @ activity
    errors = []
    for iterations in (2, 10, 100):
        found = osem(counts, projector, views=VIEWS, iterations=iterations, subsets=6)
        errors.append(float(np.linalg.norm(found - activity) / np.linalg.norm(activity)))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05  # sharp edges come last
    np.testing.assert_allclose((projector @ found).sum(), counts.sum(), rtol=1e-4)
    assert np.linalg.norm(projector @ found - counts) < 2e-3 * np.linalg.norm(counts)


def test_subsets_do_the_work_of_iterations(projector, activity):
    counts = projector @ activity
    plain = osem(counts, projector, views=VIEWS, iterations=24, subsets=1)
    ordered = osem(counts, projector, views=VIEWS, iterations=2, subsets=12)
    assert np.linalg.norm(plain - ordered) < 0.1 * np.linalg.norm(plain)


def test_slices_do_not_see_each_other(projector, activity):
    counts = projector @ np.hstack([activity, 0 * activity, activity[::-1]])
    options = {"views": VIEWS, "iterations": 2, "subsets": 4}
    together = osem(counts, projector, **options)
    alone = osem(np.ascontiguousarray(counts[:, 2:]), projector, **options)
    np.testing.assert_array_equal(together[:, 2:], alone)
    assert not together[:, 1].any()
