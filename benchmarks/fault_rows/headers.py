"""F18: series whose headers do not belong together."""

from __future__ import annotations

from amir.modality import Modality
from benchmarks.fault_rows.attacked import attacked, code_of, send, sound_files
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.mutation.packed import unzipped
from benchmarks.mutation.wrong_series import wrong_series
from benchmarks.small_service import SmallService

TARGET = "422 naming the tag; no guess"


def run(*, quick: bool) -> Outcome:
    """quick makes no difference: it takes seconds."""
    with attacked() as service:
        return check(service)


def check(service: SmallService) -> Outcome:
    files = {one.name: one.content for one in sound_files()}
    cases, wrong = wrong_series([content for _, content in unzipped(files["CT.zip"])]), []
    for name, case in cases.items():
        answer = send(service, case.content)
        is_named = case.tag.lower() in answer.text.lower()
        if (answer.status_code, code_of(answer)) != (422, case.code) or not is_named:
            wrong.append(f"{name}: {answer.status_code} {code_of(answer)}")
    other = send(service, files["CT.zip"], Modality.MRI)
    if code_of(other) != "wrong_modality" or "(0008,0060)" not in other.text:
        wrong.append("a CT sent as MRI")
    return Outcome(not wrong, f"{len(cases) + 1} series, wrong: {', '.join(wrong) or 'none'}")
