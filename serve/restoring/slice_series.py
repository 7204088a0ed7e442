"""All slices of a scan through the engine: in chunks of bounded memory, several at once."""

from __future__ import annotations

import asyncio
import math
from asyncio import to_thread
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from amir.config import LimitSettings, TrustSettings
from amir.errors import InputError
from amir.inference.above_range import bright_slices, with_bright_voxels
from amir.inference.engine.slices import Engine, SliceAnswer, SliceRequest
from amir.inference.trust.uncertainty import UncertaintyTally
from amir.inference.trust.verdicts import OutlierVerdict, judge_outliers
from amir.modality import Modality

OnProgress = Callable[[int, int], None]
Slices = NDArray[np.float32]


class ModelGoneError(Exception):
    """The engine has dropped the model that a series began with."""


@dataclass
class Tally:
    """What the answers to a series' chunks add up to. spread: of the passes, if there are any."""

    spread: UncertaintyTally
    slices: int = 0
    clipped: int = 0
    largest_batch: int = 0
    scores: list[NDArray[np.float64]] = field(default_factory=list)
    experts: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, answer: SliceAnswer) -> None:
        count = len(answer.restored)
        self.slices += count
        self.clipped += answer.clipped
        self.largest_batch = max(self.largest_batch, answer.batch)
        self.scores.append(answer.outlier_score)
        for level, shares in answer.expert_use.items():
            self.experts[level] = self.experts.get(level, 0.0) + count * np.asarray(shares)
        for stage, seconds in answer.seconds.items():
            self.seconds[stage] = max(self.seconds.get(stage, 0.0), seconds)

    def expert_use(self) -> dict[str, tuple[float, ...]]:
        """By level, the mean over the slices."""
        return {level: tuple(sums / self.slices) for level, sums in self.experts.items()}

    def outliers(self, trust: TrustSettings) -> OutlierVerdict:
        """InputError("outlier") where the settings refuse."""
        return judge_outliers(np.concatenate(self.scores), trust)


@dataclass(frozen=True)
class SliceSeries:
    """Slices of one scan, for one model. digest: the model's. scale: the scan's intensity scale.

    bright_peak: the scan's maximum, to restore what lies above the range of training as well; None
    hands it through.
    """

    engine: Engine
    digest: str
    modality: Modality
    scale: float
    passes: int
    bright_peak: float | None = None
    name: str = field(default_factory=lambda: uuid4().hex)

    async def restore(
        self,
        degraded: Path,
        restored: Path,
        *,
        deviation: Path,
        limits: LimitSettings,
        on_progress: OnProgress | None = None,
    ) -> Tally:
        """Fill .npy files [n, H, W] from another; ModelGoneError if the model is gone.

        deviation: the standard deviation over the passes, written if any were asked for.
        """
        source = _SlicesFile(degraded)
        answers = _SlicesFile.empty(restored, source.shape)
        deviations = _SlicesFile.empty(deviation, source.shape) if self.passes else None
        count = source.shape[0]
        if on_progress is not None:
            on_progress(0, count)
        tally = Tally(UncertaintyTally(self.modality))
        turns = asyncio.Semaphore(limits.chunks_in_flight)

        async def restore_chunk(part: slice) -> None:
            async with turns:
                slices = await to_thread(source.read, part)
                answer = await self._answer(slices, continues=part.start > 0)
                await to_thread(answers.write, part, answer.restored)
                if deviations is not None and answer.deviation is not None:
                    await to_thread(deviations.write, part, answer.deviation)
                    tally.spread.add(answer.deviation, slices, answer.restored, scale=self.scale)
            tally.add(answer)
            if on_progress is not None:
                on_progress(tally.slices, count)

        try:
            async with asyncio.TaskGroup() as group:
                for part in _chunks(source.shape, limits.chunk_bytes):
                    group.create_task(restore_chunk(part))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return tally

    async def _answer(self, slices: Slices, *, continues: bool) -> SliceAnswer:
        answer = await self._ask(slices, self.scale, continues=continues)
        peak, bright = self.bright_peak, None
        if peak is not None:
            bright = bright_slices(slices, self.modality, scale=self.scale, peak=peak)
        if bright is None:
            return answer
        again = await self._ask(slices[bright.index], bright.scale, continues=True)

        def merged(one: Slices, other: Slices) -> Slices:
            return with_bright_voxels(one, slices, other, bright, self.modality, scale=self.scale)

        spread = answer.deviation
        if spread is not None and again.deviation is not None:
            spread = merged(spread, again.deviation)
        return replace(answer, restored=merged(answer.restored, again.restored), deviation=spread)

    async def _ask(self, slices: Slices, scale: float, *, continues: bool) -> SliceAnswer:
        request = SliceRequest(
            slices,
            self.modality,
            scale,
            self.digest,
            uncertainty=self.passes,
            series=self.name,
            continues=continues,
        )
        try:
            return await self.engine.restore(request)
        except InputError as error:
            if error.code == "unknown_model":
                raise ModelGoneError from error
            raise


class _SlicesFile:
    """A .npy file [n, H, W] of float32, a part at a time: mapped, all of it would be in memory."""

    def __init__(self, path: Path) -> None:
        mapped = np.load(path, mmap_mode="r")
        self.path, self.shape = path, tuple(mapped.shape)
        self._start, self._bytes_each = mapped.offset, mapped[:1].nbytes

    @classmethod
    def empty(cls, path: Path, shape: tuple[int, ...]) -> _SlicesFile:
        """A new one, of zeros that take no room yet."""
        np.lib.format.open_memmap(path, "w+", np.dtype("float32"), shape)
        return cls(path)

    def read(self, part: slice) -> Slices:
        first, last, _ = part.indices(self.shape[0])
        shape = (last - first, *self.shape[1:])
        with self.path.open("rb") as file:
            file.seek(self._start + first * self._bytes_each)
            return np.fromfile(file, np.float32, math.prod(shape)).reshape(shape)

    def write(self, part: slice, slices: Slices) -> None:
        with self.path.open("r+b") as file:
            file.seek(self._start + part.start * self._bytes_each)
            file.write(np.ascontiguousarray(slices, np.float32).data)


def _chunks(shape: tuple[int, ...], limit: int) -> Iterator[slice]:
    """Parts of a stack [n, H, W] of float32 within so many bytes, of one slice at least."""
    count, height, width = shape
    size = max(1, limit // (4 * height * width))
    for start in range(0, count, size):
        yield slice(start, start + size)
