"""The three degradations share one signature and one kind of answer."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from amir.degradations.by_modality import DEGRADATIONS
from amir.errors import InputError
from amir.modality import Modality


def test_every_modality_has_a_degradation():
    assert set(DEGRADATIONS) == set(Modality)


@pytest.mark.parametrize("modality", Modality)
def test_degradations_are_called_alike_and_leave_the_global_generator_alone(modality):
    slices = np.random.default_rng(0).random((2, 33, 40), np.float32)
    before = np.random.get_state()[1].copy()
    result = DEGRADATIONS[modality](slices, spacing_mm=(4.0, 4.0, 4.0), seeds=[1, 2])
    assert result.degraded.shape == result.target.shape == slices.shape
    assert json.loads(json.dumps(result.parameters))["name"]
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("modality", Modality)
def test_infinite_voxels_are_refused(modality):
    slices = np.full((1, 32, 32), np.nan, np.float32)
    with pytest.raises(InputError, match="NaN"):
        DEGRADATIONS[modality](slices, spacing_mm=(4.0, 4.0, 4.0), seeds=[1])


@pytest.mark.parametrize("modality", Modality)
def test_a_slice_is_its_seed_and_not_its_place_or_worker(modality):
    """In another order and in other threads; photons and post-filter, of a whole scan, are set."""
    slices = 500 * np.random.default_rng(0).random((6, 40, 36), np.float32)
    options = {
        Modality.MRI: {"noise": 0.02, "signal": 500.0},
        Modality.CT: {"photons": 1e5},
        Modality.PET: {"post_filter_mm": 0, "views": 36},
    }[modality]

    def degrade(which):
        return DEGRADATIONS[modality](
            slices[which], spacing_mm=(4.0, 4.0, 4.0), seeds=[10 + k for k in which], **options
        ).degraded

    whole = degrade([0, 1, 2, 3, 4, 5])
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(degrade, ([5, 2], [0, 4], [3, 1])))
    np.testing.assert_array_equal(np.concatenate(parts), whole[[5, 2, 0, 4, 3, 1]])
