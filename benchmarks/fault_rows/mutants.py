"""F16: damaged DICOM, NIfTI, zip and npy files."""

from __future__ import annotations

from benchmarks.fault_rows.attacked import attacked, sound_files
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.mutation.attack import attack
from benchmarks.mutation.draw import mutants

TARGET = "every mutant is answered 2xx or 4xx with a code of the list, a refusal within 10 s"
_SEED = 7


def run(*, quick: bool) -> Outcome:
    with attacked() as service:
        verdict = attack(service.url, mutants(sound_files(), 1000 if quick else 10_000, seed=_SEED))
        is_alive, left = service.is_alive(), service.files_left()
    return Outcome(is_alive and not left and not verdict.faults, str(verdict))
