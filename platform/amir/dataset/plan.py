"""Which crops make up a step: a pure function of the seed and the step, whoever reads them.

Every slice is visited once per epoch, in a new order each epoch; batches run on across epochs, so
no row is dropped. Rank r of W workers takes the r-th part of each batch: their union is the batch
of one worker, and resuming is starting at another step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amir.errors import InputError
from amir.modality import Modality

Integers = NDArray[np.int64]
Sampling = Literal["proportional", "uniform"]


@dataclass(frozen=True, eq=False)
class Index:
    """Where each slice pair lies. All arrays have one entry per slice, in shard order."""

    files: tuple[str, ...]
    file: Integers
    row: Integers
    modality: tuple[Modality, ...]

    def __len__(self) -> int:
        return len(self.file)


class Slots(NamedTuple):
    """The crops of some steps, one entry per crop."""

    step: Integers
    row: Integers
    """Row of the Index."""
    draw: NDArray[np.uint64]
    """64 random bits per crop, for its place and its flip."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The order of a whole training run. batch: crops per step over all workers."""

    index: Index
    seed: int
    batch: int
    sampling: Sampling = "proportional"

    @cached_property
    def groups(self) -> list[Integers]:
        """Rows that are shuffled together: all of them, or each task's."""
        rows = np.arange(len(self.index), dtype=np.int64)
        if self.sampling == "proportional":
            return [rows]
        modality = np.array(self.index.modality)
        return [rows[modality == m] for m in sorted(set(self.index.modality))]

    def slots(self, start: int, end: int, *, rank: int = 0, workers: int = 1) -> Slots:
        """The crops of steps start..end-1 that one worker takes."""
        if self.batch % workers:
            raise InputError(
                "invalid_setting", f"{workers} workers cannot share a batch of {self.batch} equally"
            )
        share = self.batch // workers
        step = np.repeat(np.arange(start, end, dtype=np.int64), share)
        place = np.tile(np.arange(share, dtype=np.int64), end - start)
        position = step * self.batch + rank * share + place
        groups = self.groups
        group, turn = position % len(groups), position // len(groups)
        row = np.empty_like(position)
        epoch = np.empty_like(position)
        for k, rows in enumerate(groups):
            here = group == k
            epoch[here] = turn[here] // len(rows)
            row[here] = self._visit(k, rows, turn[here])
        return Slots(step, row, mix(self.seed, epoch, row))

    def _visit(self, group: int, rows: Integers, turn: Integers) -> Integers:
        epoch, place = turn // len(rows), turn % len(rows)
        visited = np.empty_like(turn)
        for e in np.unique(epoch):
            now = epoch == e
            visited[now] = rows[_order(self.seed, group, int(e), len(rows))[place[now]]]
        return visited


@lru_cache(maxsize=16)
def _order(seed: int, group: int, epoch: int, length: int) -> Integers:
    key = int(mix(seed, np.array([group]), np.array([epoch]))[0])
    return np.random.Generator(np.random.Philox(key=key)).permutation(length)


def mix(seed: int, a: Integers, b: Integers) -> NDArray[np.uint64]:
    """64 well-mixed bits of (seed, a, b): splitmix64's finaliser (Steele et al. 2014), twice."""
    with np.errstate(over="ignore"):
        start = np.uint64(seed % 2**64) * np.uint64(0x9E3779B97F4A7C15)
        x = _finalise(start + a.astype(np.uint64))
        return _finalise(x + b.astype(np.uint64) * np.uint64(0xD1342543DE82EF95))


def _finalise(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
