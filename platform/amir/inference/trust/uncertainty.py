"""How much an answer depends on how the patient happened to lie: the spread over mirrored copies.

A mirrored slice is as good a slice, and a network that was sure would restore it to the mirrored
image. The standard deviation over such passes tells where it is not; it knows nothing of errors
that all passes share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amir.inference.trust.air import AIR
from amir.modality import MODELLING_RANGES, Modality

Slices = NDArray[np.float32]

MIRRORED: tuple[tuple[int, ...], ...] = ((-1,), (-2,), (-2, -1))
"""Axes that each extra pass mirrors: left and right, top and bottom, both."""

_BINS = np.logspace(-7, 0, 281)  # of the span of the range; neighbours differ by 6 %


def mirror(slices: Slices, number: int) -> Slices:
    """Slices [..., H, W] as extra pass `number` (from 0) sees them; its own inverse."""
    return np.ascontiguousarray(np.flip(slices, MIRRORED[number]))


def deviation(passes: Sequence[Slices]) -> Slices:
    """Standard deviation (n - 1) over the passes, each [n, H, W] and mirrored back: [n, H, W]."""
    spread: Slices = np.stack(passes).std(axis=0, ddof=1)
    return spread


def restore_with_deviation(
    restore: Callable[[Slices], Slices], slices: Slices, *, passes: int
) -> tuple[Slices, Slices]:
    """(restored, deviation), both [n, H, W]; the restored slices are those of a plain pass.

    passes: extra ones, 1 to 3.
    """
    restored = restore(slices)
    again = [mirror(restore(mirror(slices, number)), number) for number in range(passes)]
    return restored, deviation([restored, *again])


@dataclass(frozen=True)
class UncertaintySummary:
    """Of the deviation in the voxels that are not air; physical units.

    median and percentile_95 to 6 %. per_change: the mean over the mean change that the restoration
    made.
    """

    unit: str
    mean: float
    median: float
    percentile_95: float
    maximum: float
    per_change: float


class UncertaintyTally:
    """Collects deviations slice by slice; holds a histogram, no voxels."""

    def __init__(self, modality: Modality) -> None:
        self._limits = MODELLING_RANGES[modality]
        self._counts = np.zeros(len(_BINS) + 1, np.int64)
        self._sum = self._change = self._maximum = 0.0

    def add(
        self, deviation: Slices, degraded: Slices, restored: Slices, *, scale: float = 1.0
    ) -> None:
        """All [n, H, W], in the scan's units; scale: its intensity scale."""
        inside = self._limits.normalise(degraded * np.float32(scale)) >= AIR
        if not inside.any():
            return
        values = deviation[inside].astype(np.float64)
        shares = values * scale / self._limits.span
        self._counts += np.bincount(np.searchsorted(_BINS, shares), minlength=len(self._counts))
        self._sum += float(values.sum())
        self._maximum = max(self._maximum, float(values.max()))
        self._change += float(np.abs(restored[inside] - degraded[inside]).sum(dtype=np.float64))

    def summary(self, *, scale: float = 1.0) -> UncertaintySummary | None:
        """None where there was nothing but air."""
        count = int(self._counts.sum())
        if not count:
            return None
        return UncertaintySummary(
            unit=self._limits.unit,
            mean=self._sum / count,
            median=self._quantile(0.5, scale),
            percentile_95=self._quantile(0.95, scale),
            maximum=self._maximum,
            per_change=self._sum / self._change if self._change > 0 else 0.0,
        )

    def _quantile(self, share: float, scale: float) -> float:
        reached = np.cumsum(self._counts) >= share * self._counts.sum()
        return float(
            _BINS[min(int(np.argmax(reached)), len(_BINS) - 1)] * self._limits.span / scale
        )
