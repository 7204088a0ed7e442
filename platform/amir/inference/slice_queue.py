"""Slices that wait for a network, in buckets of one network and one shape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from amir.inference.network_runner import Passed

Image = NDArray[np.float32]


class Runner(Protocol):
    """A network on a device; see `amir.inference.network_runner`."""

    def run(self, images: Image, *, alive: Callable[[], None]) -> Passed: ...


@dataclass(frozen=True, eq=False)
class PassedSlice:
    """One slice's share of a batch. image: [h, w]. waiting, forward: seconds. batch: its size."""

    image: Image
    instruction: Image | None
    expert_use: Mapping[str, Image]
    waiting: float
    forward: float
    batch: int


@dataclass(frozen=True, eq=False)
class WaitingSlice:
    """image: [h, w], padded. result: cancelled by whoever has no more use for it."""

    runner: Runner
    image: Image
    result: asyncio.Future[PassedSlice]
    since: float = field(default_factory=time.monotonic)

    @property
    def bucket(self) -> tuple[Runner, tuple[int, ...]]:
        return self.runner, self.image.shape


class SliceQueue:
    """Oldest first; what is taken together has one network and one shape."""

    def __init__(self) -> None:
        self._buckets: dict[object, dict[WaitingSlice, None]] = {}
        self._pixels: dict[Runner, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, one: WaitingSlice) -> None:
        """It leaves the queue when its result is cancelled."""
        self._buckets.setdefault(one.bucket, {})[one] = None
        self._pixels[one.runner] = self._pixels.get(one.runner, 0) + one.image.size
        one.result.add_done_callback(lambda _: self._discard(one))

    def take(self, pixels: int) -> list[WaitingSlice]:
        """From the bucket of the oldest, at most so many pixels but at least one slice."""
        bucket = self._oldest()
        if not bucket:
            return []
        size = next(iter(bucket)).image.size
        taken = list(bucket)[: max(1, pixels // size)]
        for one in taken:
            self._discard(one)
        return taken

    def fills(self, pixels: int) -> bool:
        """Whether the next batch could not be larger."""
        bucket = self._oldest()
        return bool(bucket) and (len(bucket) + 1) * next(iter(bucket)).image.size > pixels

    def pixels(self) -> Mapping[Runner, int]:
        """How many wait, by network."""
        return self._pixels

    def clear(self) -> None:
        for one in [one for bucket in self._buckets.values() for one in bucket]:
            self._discard(one)
            one.result.cancel()

    def _oldest(self) -> dict[WaitingSlice, None]:
        heads = self._buckets.values()
        return min(heads, key=lambda bucket: next(iter(bucket)).since, default={})

    def _discard(self, one: WaitingSlice) -> None:
        bucket = self._buckets.get(one.bucket, {})
        if one not in bucket:
            return
        del bucket[one]
        if not bucket:
            del self._buckets[one.bucket]
        self._pixels[one.runner] -= one.image.size
        if not self._pixels[one.runner]:
            del self._pixels[one.runner]
