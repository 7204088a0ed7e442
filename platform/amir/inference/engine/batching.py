"""One queue before one device: slices that wait are restored together with others of their shape.

Ray Serve's own batching puts what arrives together into one batch, whatever the shapes, and waits
as long on an idle device as on a busy one; so this is ours.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from amir.config import BatchSettings
from amir.inference.engine.slice_queue import PassedSlice, Runner, SliceQueue, WaitingSlice
from amir.inference.engine.slices import OverloadedError
from amir.inference.network_runner import Passed

Image = NDArray[np.float32]
SMOOTHING = 0.3
BUSY_SHARE = 0.1  # of a forward's time may be spent waiting for a fuller next one


class Batcher:
    """One forward at a time, in a thread of its own, of at most `batch.pixels`.

    The queue is bounded by the time that a new slice would wait. What comes in the background is
    restored when nothing else waits. on_batch: called with a batch's size and seconds.
    """

    def __init__(
        self,
        settings: BatchSettings,
        *,
        on_batch: Callable[[int, float], None] = lambda slices, seconds: None,
    ) -> None:
        self.settings, self.on_batch = settings, on_batch
        self._queue, self._background = SliceQueue(), SliceQueue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._seconds_per_pixel: WeakKeyDictionary[Runner, float] = WeakKeyDictionary()
        self._busy_seconds = 0.0  # of the forward that ended just now; 0 after a pause
        self._began: float | None = None
        self._running: tuple[Runner, int] | None = None
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def run(
        self,
        runner: Runner,
        images: Sequence[Image],
        *,
        series: object = None,
        background: bool = False,
    ) -> list[PassedSlice]:
        """Padded images [h, w], each restored in some batch; see `check_load`.

        series: of those that take turns; by default these images are one. When this is cancelled,
        what has not begun does not begin.
        """
        loop = asyncio.get_running_loop()
        series = object() if series is None else series
        queue = self._background if background else self._queue
        waiting = [WaitingSlice(runner, i, loop.create_future(), series) for i in images]
        for one in waiting:
            queue.add(one)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        self._arrived.set()
        try:
            return await asyncio.gather(*(one.result for one in waiting))
        finally:
            for one in waiting:
                one.result.cancel()

    async def try_out(self, runner: Runner, images: Image) -> Passed:
        """One forward of a batch [B, h, w] ahead of the queue; its speed is believed at once."""
        began = time.monotonic()
        passed = await self._in_thread(runner, images)
        self._seconds_per_pixel[runner] = (time.monotonic() - began) / images.size
        return passed

    @property
    def waiting_slices(self) -> int:
        return len(self._queue)

    def check_load(self, pixels: int) -> None:
        """OverloadedError if slices of so many pixels would wait too long for those of others.

        An idle engine takes any request; what waits, not what is asked, decides.
        """
        seconds, limits = self.waiting_seconds(pixels), self.settings
        if seconds > limits.queue_seconds or self._queue.pixels > limits.queue_pixels:
            raise OverloadedError(
                f"{self.waiting_slices} slices are waiting, these would for about {seconds:.0f} s; "
                f"at most {limits.queue_seconds:g} s may be: send the request again later",
                math.ceil(min(30.0, max(1.0, seconds / 2))),
            )

    def waiting_seconds(self, pixels: int) -> float:
        """How long so many would wait for others, whose turns come between theirs, by the speed of
        the latest batches.
        """
        ahead = self._queue.ahead(pixels)
        seconds = sum(n * self._seconds_per_pixel.get(r, 0.0) for r, n in ahead.items())
        if self._running is not None:
            runner, size = self._running
            expected = size * self._seconds_per_pixel.get(runner, 0.0)
            seconds += max(0.0, expected - self.stuck_seconds)
        return seconds

    @property
    def stuck_seconds(self) -> float:
        """Since the forward under way began; 0 if none is."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def close(self) -> None:
        """Stop after the forward under way; what waits is cancelled."""
        if self._worker is not None:
            self._worker.cancel()
        self._queue.clear()
        self._background.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        while True:
            while not (len(self._queue) or len(self._background)):
                self._busy_seconds = 0.0
                self._arrived.clear()
                await self._arrived.wait()
            await self._wait_for_more()
            queue = self._queue if len(self._queue) else self._background
            if batch := queue.take(self._most_pixels(queue)):
                await self._restore(batch)

    async def _wait_for_more(self) -> None:
        """A little, if the device was busy until now and the next batch has room."""
        seconds = min(self.settings.wait_seconds, BUSY_SHARE * self._busy_seconds)
        if seconds > 0 and not self._queue.fills(self._most_pixels(self._queue)):
            await asyncio.sleep(seconds)

    def _most_pixels(self, queue: SliceQueue) -> int:
        """Of the next batch: where forwards are slow, a large one would keep all others waiting."""
        speed = self._seconds_per_pixel.get(queue.runner, 0.0) if len(queue) else 0.0
        in_time = self.settings.seconds / speed if speed else math.inf
        return int(min(self.settings.pixels, in_time))

    async def _restore(self, batch: list[WaitingSlice]) -> None:
        runner, images = batch[0].runner, np.stack([one.image for one in batch])
        began = time.monotonic()
        self._running = runner, images.size
        self._beat()
        try:
            passed = await self._in_thread(runner, images)
        except Exception as error:
            for one in batch:
                if not one.result.done():
                    one.result.set_exception(error)
            return
        finally:
            self._began = self._running = None
        self._busy_seconds = time.monotonic() - began
        self._learn(runner, self._busy_seconds / images.size)
        self.on_batch(len(batch), self._busy_seconds)
        for number, one in enumerate(batch):
            if not one.result.done():
                share = _share(passed, number, began - one.since, self._busy_seconds, len(batch))
                one.result.set_result(share)

    async def _in_thread(self, runner: Runner, images: Image) -> Passed:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, lambda: runner.run(images, alive=self._beat)
        )

    def _beat(self) -> None:
        self._began = time.monotonic()

    def _learn(self, runner: Runner, seconds_per_pixel: float) -> None:
        before = self._seconds_per_pixel.get(runner, seconds_per_pixel)
        self._seconds_per_pixel[runner] = before + SMOOTHING * (seconds_per_pixel - before)


def _share(passed: Passed, number: int, waiting: float, forward: float, batch: int) -> PassedSlice:
    return PassedSlice(
        passed.images[number],
        None if passed.instruction is None else passed.instruction[number],
        {level: use[number] for level, use in passed.expert_use.items()},
        waiting=waiting,
        forward=forward,
        batch=batch,
    )
