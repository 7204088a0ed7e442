"""Send mutants to a running service, and judge what it answers to each."""

from __future__ import annotations

import asyncio
import gzip
import io
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx
import nibabel
import numpy as np
from numpy.typing import NDArray

from benchmarks.mutation.draw import Mutant
from serve.boundary.problems import PROBLEMS

REFUSED_WITHIN_SECONDS = 10.0
AT_ONCE = 4


@dataclass
class Verdict:
    """What came of an attack. answers: how often each status and code. faults: what must not be."""

    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_refusal: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {answer}" for answer, count in self.answers.most_common())
        return (
            f"{self.answers.total()} mutants in {self.seconds:.1f} s, {len(self.faults)} faults, "
            f"slowest refusal {self.slowest_refusal:.2f} s: {counted}"
        )


def attack(url: str, mutants: Iterable[Mutant]) -> Verdict:
    """Every mutant is sent to /v1/restore once, a few at a time."""
    return asyncio.run(_attack(url, mutants))


async def _attack(url: str, mutants: Iterable[Mutant]) -> Verdict:
    verdict, start, waiting = Verdict(), time.monotonic(), iter(mutants)

    async def send_some(client: httpx.AsyncClient) -> None:
        for mutant in waiting:
            await _send(client, mutant, verdict)

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await asyncio.gather(*(send_some(client) for _ in range(AT_ONCE)))
    verdict.seconds = time.monotonic() - start
    return verdict


async def _send(client: httpx.AsyncClient, mutant: Mutant, verdict: Verdict) -> None:
    start = time.monotonic()
    # Only DICOM says what it is.
    asked = {"modality": mutant.specimen.modality} if "n" in mutant.specimen.kind else {}
    try:
        answer = await client.post(
            "/v1/restore",
            params=asked,
            content=mutant.content,
            headers={"Content-Type": "application/octet-stream"},
        )
    except httpx.HTTPError as error:
        verdict.answers[type(error).__name__] += 1
        verdict.faults.append(f"{type(error).__name__} for {mutant.made}")
        return
    seconds = time.monotonic() - start
    code = answer.headers.get("X-AMIR-Problem", "")
    verdict.answers[f"{answer.status_code} {code}".strip()] += 1
    if answer.status_code >= 300:
        verdict.slowest_refusal = max(verdict.slowest_refusal, seconds)
    verdict.faults += [f"{fault} for {mutant.made}" for fault in _faults(answer, seconds)]


def _faults(answer: httpx.Response, seconds: float) -> list[str]:
    if answer.status_code == 200:
        return [] if numbers_are_finite(answer) else ["NaN or infinity in the answer"]
    code = answer.headers.get("X-AMIR-Problem", "no code")
    found = [] if 400 <= answer.status_code < 500 else [f"{answer.status_code} {code}"]
    if code not in PROBLEMS or answer.json()["code"] != code:
        found.append(f"{code!r} is not in the table")
    return found if seconds < REFUSED_WITHIN_SECONDS else [*found, f"refused after {seconds:.1f} s"]


def numbers_are_finite(answer: httpx.Response) -> bool:
    """Of an array or a volume, which can hold others; DICOM keeps integers."""
    return bool(np.isfinite(_numbers(answer.content)).all())


def _numbers(content: bytes) -> NDArray[np.floating]:
    if content[:6] == b"\x93NUMPY":
        return np.load(io.BytesIO(content))
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if content[344:347] == b"n+1" or content[4:7] == b"n+2":
        kind = nibabel.Nifti1Image if content[344:347] == b"n+1" else nibabel.Nifti2Image
        return np.asanyarray(kind.from_bytes(content).dataobj)
    return np.zeros(1)
