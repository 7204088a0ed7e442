"""The body of a PET scan is found, and water takes from each ray what Beer's law says."""

import numpy as np
import pytest

from amir.degradations.body import WATER_PER_MM, body_mask, survival, survival_of_disc
from amir.degradations.projector import system_matrix

SPACING = (4.0, 4.0, 4.0)


def radius_mm(size=64):
    along = (np.arange(size) - (size - 1) / 2) * 4
    return np.hypot(along[:, None], along[None, :])


def test_the_body_is_found_with_its_cold_lungs_and_without_the_air():
    activity = np.where(radius_mm() < 100, 0.6, 0.0).astype(np.float32)
    activity[20:30, 24:40] = 0.0  # a lung without any uptake
    activity = np.stack([activity, 0 * activity])
    mask = body_mask(activity, SPACING)
    assert mask[0][radius_mm() < 96].all()
    assert not mask[0][radius_mm() > 112].any()
    assert not mask[1].any()


def test_noise_in_the_air_is_not_body():
    noise = np.random.default_rng(0).random((3, 64, 64), np.float32) * 0.1
    assert not body_mask(noise, SPACING).any()


def test_rays_lose_what_beers_law_says():
    projector = system_matrix((64, 64), (4.0, 4.0), 60)
    share = survival((radius_mm() < 100)[None], projector)[:, 0].reshape(60, -1)
    middle = share[:, share.shape[1] // 2]
    np.testing.assert_allclose(middle, np.exp(-200 * WATER_PER_MM), rtol=0.06)
    np.testing.assert_allclose(share[:, 0], 1)


def test_the_loss_of_a_disc_is_that_of_its_rays():
    projector = system_matrix((64, 64), (4.0, 4.0), 60)
    disc = (radius_mm() < 100)[None]
    trues = projector @ disc.reshape(1, -1).T.astype(np.float32)
    lost = (trues * survival(disc, projector)).sum() / trues.sum()
    assert survival_of_disc(np.pi * 100**2) == pytest.approx(lost, rel=0.02)


def test_hardly_anything_is_lost_in_a_small_disc():
    """Averaged over where it starts and where it goes, a photon pair's chord is 16 r / (3 pi)."""
    loss = 1 - survival_of_disc(np.pi * 2**2)
    assert loss == pytest.approx(WATER_PER_MM * 16 * 2 / (3 * np.pi), rel=0.03)
