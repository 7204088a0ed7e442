"""Mutants of sound files, each repeatable by its seed and number alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.mutation.dicom import DICOM, elements
from benchmarks.mutation.nifti import NIFTI
from benchmarks.mutation.npy import NPY
from benchmarks.mutation.packed import GZIP, ZIP, within_gzip, within_zip
from benchmarks.mutation.plain import PLAIN, Mutator
from benchmarks.mutation.specimens import Specimen

_MUTATORS: dict[str, list[Mutator]] = {
    "": [*PLAIN, *DICOM, *DICOM],
    ".zip": [*PLAIN, *ZIP, *map(within_zip, DICOM), *map(within_zip, PLAIN)],
    ".nii": [*PLAIN, *NIFTI],
    ".nii.gz": [*PLAIN, *GZIP, *map(within_gzip, NIFTI), *map(within_gzip, PLAIN)],
    ".npy": [*PLAIN, *NPY],
}


@dataclass(frozen=True)
class Mutant:
    """A damaged file; `made` says how, and is enough to make it again."""

    specimen: Specimen
    made: str
    content: bytes


def mutants(specimens: Sequence[Specimen], count: int, *, seed: int) -> Iterator[Mutant]:
    """As many as asked; of the same specimens, number n of a seed is always the same."""
    return (mutant(specimens, number, seed=seed) for number in range(count))


def mutant(specimens: Sequence[Specimen], number: int, *, seed: int) -> Mutant:
    random = Random(f"{seed}/{number}")
    specimen = random.choice(specimens)
    chosen = _MUTATORS[specimen.kind]
    if specimen.kind == "" and not elements(specimen.content):
        chosen = PLAIN
    mutator = random.choice(chosen)
    made = f"seed {seed}, number {number}: {specimen.name}, {mutator.__name__}"
    return Mutant(specimen, made, mutator(specimen.content, random))
