"""Intervals, tests and corrections against what theory says of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from amir.evaluation.tables.statistics import holm, paired_p, patient_interval, smallest_p


def test_fewer_than_five_patients_have_no_interval() -> None:
    values = np.arange(40.0)
    assert patient_interval(values, ["a", "b", "c", "d"] * 10, seed=0) is None
    assert patient_interval(values, ["a", "b", "c", "d", "e"] * 8, seed=0) is not None


def test_an_interval_counts_patients_and_not_their_slices() -> None:
    means = np.random.default_rng(0).normal(30, 1, 12)
    once = patient_interval(means, [f"p{k}" for k in range(12)], seed=0)
    often = patient_interval(np.repeat(means, 50), np.repeat(np.arange(12).astype(str), 50), seed=0)
    assert often == pytest.approx(once)


def test_a_patient_with_more_slices_weighs_more_as_in_the_mean() -> None:
    patients = ["a"] * 90 + ["b", "c", "d", "e"] * 2
    values = np.array([10.0] * 90 + [20.0] * 8)
    interval = patient_interval(values, patients, seed=0)
    assert interval is not None
    assert interval.lower <= values.mean() <= interval.upper


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(1)
    people = [f"p{k}" for k in range(20)]
    held = 0
    for _ in range(100):
        interval = patient_interval(generator.normal(5, 1, 20), people, seed=0)
        assert interval is not None
        held += interval.lower <= 5 <= interval.upper
    assert 86 <= held <= 100


def test_the_same_seed_gives_the_same_interval() -> None:
    values, people = np.random.default_rng(2).normal(size=9), list("abcdefghi")
    first, again, other = (patient_interval(values, people, seed=s) for s in (3, 3, 4))
    assert first == again != other


def test_patients_who_are_all_alike_leave_no_doubt() -> None:
    assert patient_interval(np.full(6, 2.0), list("abcdef"), seed=0) == (2.0, 2.0)


def test_p_is_the_share_of_sign_patterns_at_least_as_far_from_zero() -> None:
    differences = np.array([0.3, -0.1, 0.7, 0.2, 0.5])
    flipped = [abs(np.mean(differences * signs)) for signs in product((1, -1), repeat=5)]
    share = np.mean(np.array(flipped) >= abs(differences.mean()) - 1e-12)
    assert paired_p(differences, seed=0) == pytest.approx(share)
    assert paired_p(-differences, seed=0) == pytest.approx(share)


@pytest.mark.parametrize("patients", [1, 2, 5, 6, 14, 40])
def test_no_p_is_less_than_the_smallest_possible(patients: int) -> None:
    clear = np.linspace(1, 2, patients)
    assert paired_p(clear, seed=0) == pytest.approx(smallest_p(patients))


def test_no_difference_at_all_is_no_evidence() -> None:
    assert paired_p(np.zeros(8), seed=0) == 1


def test_holm_multiplies_step_by_step_and_never_reverses() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([]) == []
