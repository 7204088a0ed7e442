"""Patients to splits: whole patients, linked ones together, drawn from names alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from amir.config import SplitFractions
from amir.dataset.cohort import CohortRow
from amir.dataset.splits import assign_splits, check_splits_are_filled
from amir.errors import InputError
from amir.modality import Modality

FRACTIONS = SplitFractions(train=0.6, validation=0.2)


def scan(patient: str, modality: str = "MRI", **more: str) -> CohortRow:
    return CohortRow(patient, Modality(modality), Path(f"{patient}-{modality}"), **more)


def splits(rows: list[CohortRow], seed: int = 0) -> dict[str, str]:
    return assign_splits(rows, fractions=FRACTIONS, seed=seed)


def test_each_modality_is_divided_in_the_stated_fractions() -> None:
    rows = [scan(f"{m}{k}", m) for m in ("MRI", "CT") for k in range(10)]
    drawn = splits(rows)
    for modality in ("MRI", "CT"):
        of = [split for patient, split in drawn.items() if patient.startswith(modality)]
        assert [of.count(s) for s in ("train", "validation", "test")] == [6, 2, 2]


def test_the_scans_of_a_patient_share_its_split() -> None:
    rows = [scan(f"p{k}", m) for k in range(9) for m in ("MRI", "PET")]
    assert splits(rows).keys() == {f"p{k}" for k in range(9)}


def test_the_draw_does_not_depend_on_the_order_of_the_rows() -> None:
    rows = [scan(f"p{k}", m) for k in range(12) for m in ("MRI", "CT")[: 1 + k % 2]]
    drawn = splits(rows)
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert splits(rows) == drawn


def test_another_seed_is_another_draw() -> None:
    rows = [scan(f"p{k}") for k in range(20)]
    assert splits(rows, seed=0) != splits(rows, seed=1)


def test_stated_splits_are_kept_and_do_not_move_the_others() -> None:
    rows = [scan(f"p{k}") for k in range(10)]
    drawn = splits(rows)
    said = [*rows, scan("q", split="test")]
    assert splits(said) == drawn | {"q": "test"}


def test_linked_patients_share_a_split_through_any_chain() -> None:
    chain = [scan("a", linked_to="c"), scan("b"), scan("c", linked_to="b"), scan("d")]
    for seed in range(8):
        drawn = splits([*chain, *(scan(f"p{k}") for k in range(6))], seed)
        assert drawn["a"] == drawn["b"] == drawn["c"]
    said = splits([*chain, scan("e", linked_to="a", split="validation")])
    assert {said[patient] for patient in "abce"} == {"validation"}


@pytest.mark.parametrize(
    "rows",
    [
        [scan("kim", split="train"), scan("kim", "CT", split="test")],
        [scan("kim", split="train"), scan("lee", split="test", linked_to="kim")],
    ],
)
def test_a_patient_in_two_splits_is_refused_by_name(rows: list[CohortRow]) -> None:
    with pytest.raises(InputError, match=r"patient (kim|lee) .* is in train and in test") as caught:
        splits(rows)
    assert caught.value.code == "invalid_cohort"


def test_a_link_to_nobody_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="kim is linked to lee, who is not in the cohort"):
        splits([scan("kim", linked_to="lee")])


def test_an_empty_split_is_refused_with_modality_and_remedy() -> None:
    rows = [scan("a", split="train"), scan("b", split="test")]
    with pytest.raises(InputError, match=r"no MRI patient is in the validation split; name one"):
        check_splits_are_filled(rows, splits(rows))


def test_a_split_that_refused_scans_leave_empty_is_refused() -> None:
    rows = [scan(s, split=s) for s in ("train", "validation", "test")]
    check_splits_are_filled(rows, splits(rows))
    with pytest.raises(InputError, match=r"the test split \(without the 1 scans"):
        check_splits_are_filled(rows, splits(rows), left_out=rows[2:])
