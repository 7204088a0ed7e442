"""Patients to train, validation and test: never slice by slice, never one patient on two sides."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from amir.config import SplitFractions
from amir.dataset.cohort import SPLITS, CohortRow, Split
from amir.errors import InputError
from amir.modality import Modality


def assign_splits(
    rows: Sequence[CohortRow], *, fractions: SplitFractions, seed: int
) -> dict[str, Split]:
    """Patient -> split. Linked patients share theirs; open ones are drawn.

    Patients with the same modalities are drawn among themselves, so that each modality has its
    share of each split. The draw depends on the seed and the patients' names alone, not on the
    order of the rows.
    """
    family = _families(rows)
    said = _said_splits(rows, family)
    modalities: dict[str, set[Modality]] = defaultdict(set)
    for row in rows:
        modalities[family[row.patient_id]].add(row.modality)
    strata: dict[tuple[Modality, ...], list[str]] = defaultdict(list)
    for name in sorted(modalities.keys() - said.keys()):
        strata[tuple(sorted(modalities[name]))].append(name)
    for names in strata.values():
        said |= _draw(names, fractions, seed)
    return {patient: said[family[patient]] for patient in family}


def check_splits_are_filled(
    rows: Sequence[CohortRow],
    splits: Mapping[str, Split],
    *,
    left_out: Collection[CohortRow] = (),
) -> None:
    """Every modality needs patients to train on, to choose by, and to test on.

    left_out: scans that turned out not to be usable.
    """
    why = f" (without the {len(left_out)} scans that cannot be used)" if left_out else ""
    for modality in sorted({row.modality for row in rows}):
        usable = [row for row in rows if row.modality == modality and row not in left_out]
        for split in SPLITS:
            if split not in {splits[row.patient_id] for row in usable}:
                raise InputError(
                    "invalid_cohort",
                    f"no {modality} patient is in the {split} split{why}; name one in the cohort's "
                    "split column, or change --splits.train and --splits.validation",
                )


def _families(rows: Sequence[CohortRow]) -> dict[str, str]:
    """Patient -> the alphabetically first patient it is linked with, directly or through others."""
    parent = {row.patient_id: row.patient_id for row in rows}

    def root(patient: str) -> str:
        while parent[patient] != patient:
            patient = parent[patient]
        return patient

    for row in rows:
        if row.linked_to is None:
            continue
        if row.linked_to not in parent:
            raise InputError(
                "invalid_cohort",
                f"patient {row.patient_id} is linked to {row.linked_to}, who is not in the cohort",
            )
        first, second = sorted((root(row.patient_id), root(row.linked_to)))
        parent[second] = first
    return {patient: root(patient) for patient in parent}


def _said_splits(rows: Sequence[CohortRow], family: dict[str, str]) -> dict[str, Split]:
    said: dict[str, Split] = {}
    for row in rows:
        if row.split is None:
            continue
        before = said.setdefault(family[row.patient_id], row.split)
        if before != row.split:
            raise InputError(
                "invalid_cohort",
                f"patient {row.patient_id} (or one linked to it) is in {before} and in "
                f"{row.split}; a patient's scans must share one split",
            )
    return said


def _draw(names: Sequence[str], fractions: SplitFractions, seed: int) -> dict[str, Split]:
    shuffled = sorted(names, key=lambda n: hashlib.sha256(f"{seed}/{n}".encode()).digest())
    train = round(len(names) * fractions.train)
    validation = round(len(names) * (fractions.train + fractions.validation))
    return {
        name: "train" if k < train else "validation" if k < validation else "test"
        for k, name in enumerate(shuffled)
    }
