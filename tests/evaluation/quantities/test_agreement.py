"""Concordance and limits of agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amir.evaluation.quantities.agreement import agree, concordance

TRUE = [1.0, 2.0, 4.0, 7.0, 11.0, 16.0]


def test_equal_values_agree_fully_and_mirrored_ones_oppositely() -> None:
    assert concordance(TRUE, TRUE) == pytest.approx(1)
    assert concordance([-v + 2 * np.mean(TRUE) for v in TRUE], TRUE) == pytest.approx(-1)


def test_a_shift_costs_concordance_though_correlation_stays_one() -> None:
    spread = np.var(TRUE)
    shifted = concordance([v + 3 for v in TRUE], TRUE)
    assert shifted == pytest.approx(2 * spread / (2 * spread + 9))


def test_a_wrong_scale_costs_concordance() -> None:
    s, m = np.var(TRUE), np.mean(TRUE)
    assert concordance([2 * v for v in TRUE], TRUE) == pytest.approx(4 * s / (5 * s + m**2))


def test_bias_and_limits_are_bland_and_altmans() -> None:
    difference = np.array([0.1, -0.2, 0.4, 0.0, 0.3, -0.1])
    found = agree(list(np.array(TRUE) + difference), TRUE)
    assert found.bias == pytest.approx(difference.mean())
    assert found.upper - found.bias == pytest.approx(1.96 * difference.std(ddof=1))
    assert found.upper - found.bias == pytest.approx(found.bias - found.lower)


def test_few_pairs_have_a_bias_but_no_limits() -> None:
    found = agree([2.0, 3.0], [1.0, 2.0])
    assert (found.n, found.bias) == (2, 1)
    assert math.isnan(found.lower)


@pytest.mark.parametrize(("x", "y"), [([], []), ([1.0], [1.0]), ([2.0, 2.0], [2.0, 2.0])])
def test_where_nothing_varies_concordance_is_not_defined(x: list[float], y: list[float]) -> None:
    assert math.isnan(concordance(x, y))
