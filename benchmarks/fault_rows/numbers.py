"""F17: NaN, infinity, one value everywhere, nothing but negative voxels, no voxel of size."""

from __future__ import annotations

from collections import Counter

from benchmarks.fault_rows.attacked import attacked, code_of, send
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.mutation.attack import numbers_are_finite
from benchmarks.mutation.strange_numbers import strange_volumes
from benchmarks.small_service import SmallService

TARGET = "422 with a code, or an answer without NaN or infinity"
_REFUSED = ("not_finite", "empty", "unsupported")


def run(*, quick: bool) -> Outcome:
    """quick makes no difference: it takes seconds."""
    with attacked() as service:
        return check(service)


def check(service: SmallService) -> Outcome:
    answers: Counter[str] = Counter()
    wrong = []
    for name, modality, content in strange_volumes():
        answer = send(service, content, modality)
        code = code_of(answer)
        answers[code or str(answer.status_code)] += 1
        is_refused = answer.status_code == 422 and code in _REFUSED
        if not is_refused and not (answer.status_code == 200 and numbers_are_finite(answer)):
            wrong.append(f"{name}: {answer.status_code} {code}")
        if ("NaN" in name or "infinite" in name) and code != "not_finite":
            wrong.append(f"{name}: not refused as not finite")
    counted = ", ".join(f"{count} {code}" for code, count in answers.most_common())
    return Outcome(not wrong, f"{counted}; wrong: {', '.join(wrong) or 'none'}")
