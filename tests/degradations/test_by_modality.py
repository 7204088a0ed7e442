"""The three degradations share one signature and one kind of answer."""

import json

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
