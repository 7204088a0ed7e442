"""The device that is measured, and the clocks it has; on a CPU the same calls, for a dry run."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.measures import cpu_name


class Beside(NamedTuple):
    """Seconds a call, medians over the rounds. ratio: ours / theirs; spread: largest - smallest."""

    ours: float
    theirs: float
    ratio: float
    spread: float


@dataclass(frozen=True)
class Place:
    """tiny: sizes and numbers of calls of a dry run."""

    device: torch.device
    rounds: int
    seconds: float
    tiny: bool = False

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    def name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.is_gpu else cpu_name()

    def wait(self) -> None:
        if self.is_gpu:
            torch.cuda.synchronize()

    def time(self, call: Callable[[], object], repeats: int) -> float:
        """Seconds of one of so many calls in a row, the host's share included."""
        self.wait()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        self.wait()
        return (time.perf_counter() - start) / repeats

    def alone(self, call: Callable[[], object]) -> float:
        """Seconds of a call, the median over the rounds."""
        repeats = self._repeats(call)
        return statistics.median(self.time(call, repeats) for _ in range(self.rounds))

    def beside(self, ours: Callable[[], object], theirs: Callable[[], object] | None) -> Beside:
        """The two in turn, each for about `seconds` in all rounds together."""
        if theirs is None:
            return Beside(self.alone(ours), float("nan"), float("nan"), float("nan"))
        calls = [(call, self._repeats(call)) for call in (ours, theirs)]
        rounds = [[self.time(call, n) for call, n in calls] for _ in range(self.rounds)]
        ratios = [mine / other for mine, other in rounds]
        mine, other = (statistics.median(column) for column in zip(*rounds, strict=True))
        return Beside(mine, other, statistics.median(ratios), max(ratios) - min(ratios))

    def peak(self, call: Callable[[], object]) -> float:
        """GiB that were in use at most during a call, what was there before included."""
        if not self.is_gpu:
            return float("nan")
        self.wait()
        torch.cuda.reset_peak_memory_stats()
        call()
        self.wait()
        return torch.cuda.max_memory_allocated() / 2**30

    def launches(self, call: Callable[[], object]) -> int:
        """What the host launches in a call: kernels and copies, and whole graphs as one."""
        on_gpu = [ProfilerActivity.CUDA] if self.is_gpu else []
        with profile(activities=[ProfilerActivity.CPU, *on_gpu]) as found:
            call()
            self.wait()
        names = [event.name for event in found.events()]
        if not self.is_gpu:
            return sum(name.startswith("aten::") for name in names)
        launched = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpy", "cudaMemset")
        return sum(name.startswith(launched) for name in names)

    def host_waits(self, call: Callable[[], object]) -> int:
        """How often the host waits for the GPU in a call, as torch notices it."""
        if not self.is_gpu:
            return 0
        self.wait()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in told)

    def forget(self) -> None:
        """Give memory back, so that the next row finds as much as the first."""
        if self.is_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()

    def _repeats(self, call: Callable[[], object]) -> int:
        for _ in range(1 if self.tiny else 3):  # warm up
            call()
        if self.tiny:
            return 1
        return max(1, round(self.seconds / self.rounds / self.time(call, 1)))


def copy_rate(place: Place) -> float:
    """GB/s of a copy of a large bfloat16 array, read and written."""
    values = torch.ones(2**16 if place.tiny else 2**29, dtype=torch.bfloat16, device=place.device)
    other = torch.empty_like(values)
    return 2 * values.nbytes / place.alone(lambda: other.copy_(values)) / 1e9


def matmul_rate(place: Place, dtype: torch.dtype) -> float:
    """TFLOP/s of a large square product."""
    side = 64 if place.tiny else 8192
    a = torch.randn(side, side, device=place.device).to(dtype)
    return 2 * side**3 / place.alone(lambda: a @ a) / 1e12
