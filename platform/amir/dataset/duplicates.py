"""Slices that occur more than once, whatever files they lay in: leakage, or a scan listed twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from amir.dataset.cohort import Split
from amir.errors import InputError


class Printed(NamedTuple):
    """A scan by the prints of its kept slices (uint64 [n], see `CutPair`)."""

    number: int
    patient_id: str
    split: Split
    prints: NDArray[np.uint64]


def check_no_leakage(scans: Sequence[Printed]) -> None:
    """InputError where two splits hold the same slice, naming both patients."""
    shared: Counter[tuple[int, int]] = Counter()
    for places in _repeated(scans):
        first = places[0]
        others = (place for place in places if scans[place].split != scans[first].split)
        shared.update((first, other) for other in others)
    for (first, other), count in sorted(shared.items()):
        a, b = scans[first], scans[other]
        raise InputError(
            "invalid_cohort",
            f"patients {a.patient_id} and {b.patient_id} have a scan with the same content: "
            f"{count} slices of scan {a.number} ({a.split}) are those of scan {b.number} "
            f"({b.split}); list it once, or link the patients with linked_to",
        )


def repeated_scans(scans: Sequence[Printed]) -> dict[int, Printed]:
    """Number of each scan that holds nothing new -> an earlier scan with all of its slices."""
    earlier: dict[int, Counter[int]] = defaultdict(Counter)
    for places in _repeated(scans):
        for position, place in enumerate(places):
            earlier[place].update(places[:position])
    repeated = {}
    for place, counts in earlier.items():
        whole = len(np.unique(scans[place].prints))
        containing = [first for first, count in counts.items() if count == whole]
        if containing:
            repeated[scans[place].number] = scans[min(containing)]
    return repeated


def _repeated(scans: Sequence[Printed]) -> Iterator[list[int]]:
    """For each slice that occurs in several scans, their places in the sequence, ascending."""
    unique = [np.unique(scan.prints) for scan in scans]
    prints = np.concatenate([*unique, np.empty(0, np.uint64)])
    place = np.repeat(np.arange(len(scans)), [len(u) for u in unique]).astype(np.int64)
    order = np.lexsort((place, prints))
    prints, place = prints[order], place[order]
    starts = np.flatnonzero(np.r_[True, prints[1:] != prints[:-1]]) if len(prints) else place
    ends = np.r_[starts[1:], len(prints)]
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        yield [int(k) for k in place[start:end]]
