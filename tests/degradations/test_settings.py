"""The settings of a degradation are its keywords, spelled once."""

import inspect

import pytest

from amir.command_line import settings_from
from amir.config import Degradations, PrepareSettings
from amir.degradations.by_modality import DEGRADATIONS
from amir.errors import InputError
from amir.modality import Modality


@pytest.mark.parametrize("modality", Modality)
def test_settings_are_keywords_with_the_same_defaults(modality):
    """A setting may be narrower than its keyword, never another number."""
    keywords = inspect.signature(DEGRADATIONS[modality]).parameters
    for name, value in Degradations().options(modality).items():
        assert keywords[name].default == value, name


@pytest.mark.parametrize(
    ("text", "factor"), [("3", 3), ("1,4", (1, 4)), ("[2, 4]", (2, 4)), ("(4,1)", (4, 1))]
)
def test_the_k_space_factor_is_one_number_or_two(text, factor):
    given = ["--cohort", "c", "--out", "o", "--degradation.mri.factor", text]
    assert settings_from(given, PrepareSettings).degradation.mri.factor == factor


@pytest.mark.parametrize("text", ["1", "9", "0,2", "2,3,4", "x"])
def test_other_factors_are_refused_by_name(text):
    given = ["--cohort", "c", "--out", "o", "--degradation.mri.factor", text]
    with pytest.raises(InputError, match=r"mri\.factor"):
        settings_from(given, PrepareSettings)
