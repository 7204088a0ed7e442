"""Clients that send one file after the other and hold each answer against what it must be."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from amir.client import Answer, Client, ServiceError
from amir.modality import MODELLING_RANGES, Modality

TOLERANCE = 1e-5 * MODELLING_RANGES[Modality.CT].span  # F23, of the range
SHAPE = (6, 48, 40)


@dataclass
class Tally:
    """Of all clients together. worst: largest difference from what was expected, in HU."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    tries: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    digests: Counter[str] = field(default_factory=Counter)
    worst: float = 0.0

    def figure(self) -> str:
        slowest = float(np.percentile(self.seconds, 99)) if self.seconds else float("nan")
        tries = ", ".join(f"{n} x {count}" for n, count in sorted(self.tries.items()))
        return (
            f"{self.answered} answered, {len(self.failures)} failed"
            f"{f' ({self.failures[0]})' if self.failures else ''}; tries: {tries}; p99 "
            f"{slowest:.1f} s; largest difference {self.worst:.1e} HU"
        )

    @property
    def holds(self) -> bool:
        return self.answered > 0 and not self.failures and self.worst <= TOLERANCE


Expected = Callable[[str, int], np.ndarray]


@contextmanager
def load(
    url: str, folder: Path, *, clients: int, expected: Expected, rate: float | None = None
) -> Iterator[Tally]:
    """Runs beside the block. expected: by model digest and file number, the answer's voxels.

    rate: requests per second of all clients together; None: as fast as they are answered.
    """
    tally, stop, lock = Tally(), threading.Event(), threading.Lock()

    def run(number: int) -> None:
        client, path = Client(url), file_of(folder, number)
        while not stop.is_set():
            start = time.monotonic()
            try:
                answer = client.restore(path, modality="CT")
            except ServiceError as error:
                with lock:
                    tally.failures.append(f"{error.status} {error.code} {error}")
                continue
            taken = time.monotonic() - start
            with lock:
                _count(tally, answer, taken, expected(answer.model_digest, number))
            if rate is not None:
                stop.wait(max(0.0, clients / rate - taken))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def volume_of(number: int) -> np.ndarray:
    """What client `number` sends, in HU."""
    noise = np.random.default_rng(number).uniform(-1000, 2000, SHAPE)
    return noise.astype(np.float32)


def file_of(folder: Path, number: int) -> Path:
    path = folder / f"{number}.npy"
    if not path.exists():
        np.save(path, volume_of(number))
    return path


def _count(tally: Tally, answer: Answer, seconds: float, expected: np.ndarray) -> None:
    tally.answered += 1
    tally.tries[answer.tries] += 1
    tally.digests[answer.model_digest] += 1
    tally.seconds.append(seconds)
    restored = np.load(io.BytesIO(answer.content))
    tally.worst = max(tally.worst, float(np.abs(restored - expected).max()))
