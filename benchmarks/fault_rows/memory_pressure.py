"""F20: more work than the memory is meant to hold."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx

from amir.modality import Modality
from benchmarks.fault_rows.attacked import attacked, code_of, send
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.mutation.strange_numbers import nifti, sound_voxels

TARGET = "503 with Retry-After or 413 before memory runs out; the service lives and goes on"
_CLIENTS = 40
_LIMITS = {"concurrent": 3, "decode_bytes": 3 * 2**29}
# Of the processes that read files; within 1.5 GiB of address space no 400 MiB can be restored.
_SHAPE, _LARGE = (256, 256, 40), (512, 512, 400)
_STATED_GROWTH = 2**30


def run(*, quick: bool) -> Outcome:
    content = nifti(sound_voxels(Modality.CT, _SHAPE))
    large = nifti(sound_voxels(Modality.CT, _LARGE)) if not quick else b""
    with attacked(limits=_LIMITS) as service:
        send(service, content, Modality.CT).raise_for_status()
        before = service.peak_memory()
        with ThreadPoolExecutor(_CLIENTS) as clients:
            answers = list(
                clients.map(lambda _: send(service, content, Modality.CT), range(_CLIENTS))
            )
        growth = service.peak_memory() - before
        beyond = "not tried" if quick else code_of(send(service, large, Modality.CT)) or "taken"
        is_well = send(service, content, Modality.CT).status_code == 200
    counted = Counter(f"{answer.status_code} {code_of(answer)}".strip() for answer in answers)
    holds = all(map(_is_in_order, answers)) and is_well and beyond in ("not tried", "too_large")
    told = ", ".join(f"{count} {code}" for code, count in counted.most_common())
    figure = (
        f"{_CLIENTS} clients at once where {_LIMITS['concurrent']} are let in: {told}; memory "
        f"+{growth >> 20} MiB; a volume beyond a reader's memory: {beyond}"
    )
    return Outcome(holds and growth < _STATED_GROWTH, figure)


def _is_in_order(answer: httpx.Response) -> bool:
    refused = answer.status_code == 503 and int(answer.headers.get("Retry-After", 0)) > 0
    return answer.status_code == 200 or (refused and code_of(answer) == "overloaded")
