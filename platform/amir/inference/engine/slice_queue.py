"""Slices that wait for a network, in buckets of one network and one shape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
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
    """image: [h, w], padded. result: cancelled by whoever has no more use for it.

    series: of those that take turns; slices of one series keep their order.
    """

    runner: Runner
    image: Image
    result: asyncio.Future[PassedSlice]
    series: object
    since: float = field(default_factory=time.monotonic)

    @property
    def bucket(self) -> tuple[Runner, tuple[int, ...]]:
        return self.runner, self.image.shape

    @property
    def flow(self) -> tuple[Runner, object]:
        return self.runner, self.series


@dataclass
class _Flow:
    """Of one series: pixels that wait, and the turn of the last one."""

    pixels: int = 0
    turn: int = 0


class SliceQueue:
    """What is taken together has one network and one shape; series take turns, pixel by pixel.

    Start-time fair queueing (Goyal, Vin, Cheng, IEEE/ACM Trans. Networking 5(5), 1997): a single
    slice does not wait for the rest of a long series that came before it.
    """

    def __init__(self) -> None:
        self._buckets: dict[object, list[tuple[int, int, WaitingSlice]]] = {}
        self._flows: dict[tuple[Runner, object], _Flow] = {}
        self._waiting: set[WaitingSlice] = set()
        self._turn = 0  # of what was taken last
        self._count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, one: WaitingSlice) -> None:
        """It leaves the queue when its result is cancelled."""
        flow = self._flows.setdefault(one.flow, _Flow())
        turn = max(self._turn, flow.turn)
        flow.turn = turn + one.image.size
        flow.pixels += one.image.size
        self._count += 1
        heappush(self._buckets.setdefault(one.bucket, []), (turn, self._count, one))
        self._waiting.add(one)
        one.result.add_done_callback(lambda _: self._leave(one))

    def take(self, pixels: int) -> list[WaitingSlice]:
        """Those of one bucket whose turn it is: at most so many pixels, but at least one slice."""
        bucket = self._next()
        taken: list[WaitingSlice] = []
        while bucket and (not taken or (len(taken) + 1) * taken[0].image.size <= pixels):
            turn, _, one = heappop(bucket)
            if one in self._waiting:
                self._turn = max(self._turn, turn)
                self._leave(one)
                taken.append(one)
        return taken

    @property
    def runner(self) -> Runner:
        """The network of the slice whose turn it is; there must be one."""
        runner: Runner = self._next()[0][2].runner
        return runner

    def fills(self, pixels: int) -> bool:
        """Whether the next batch could not be larger; counts those that have left, too."""
        bucket = self._next()
        return bool(bucket) and (len(bucket) + 1) * bucket[0][2].image.size > pixels

    def ahead(self, size: int) -> Mapping[Runner, int]:
        """Pixels, by network, whose turn comes before the last of so many that came now."""
        pixels: dict[Runner, int] = {}
        for (runner, _), flow in self._flows.items():
            pixels[runner] = pixels.get(runner, 0) + min(flow.pixels, size)
        return pixels

    @property
    def pixels(self) -> int:
        return sum(flow.pixels for flow in self._flows.values())

    def clear(self) -> None:
        for one in list(self._waiting):
            one.result.cancel()
            self._leave(one)

    def _next(self) -> list[tuple[int, int, WaitingSlice]]:
        """The bucket of the slice whose turn it is."""
        for key, bucket in list(self._buckets.items()):
            while bucket and bucket[0][2] not in self._waiting:
                heappop(bucket)
            if not bucket:
                del self._buckets[key]
        return min(self._buckets.values(), key=lambda bucket: bucket[0][:2], default=[])

    def _leave(self, one: WaitingSlice) -> None:
        if one not in self._waiting:
            return
        self._waiting.remove(one)
        flow = self._flows[one.flow]
        flow.pixels -= one.image.size
        if not flow.pixels:
            del self._flows[one.flow]
