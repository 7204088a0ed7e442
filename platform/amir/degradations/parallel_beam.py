"""Parallel-beam line integrals and filtered back-projection, fast enough for full-size CT slices.

Kak and Slaney, Principles of Computerized Tomographic Imaging, chapter 3. Views stand at half steps
between 0 and 180 degrees, so view k and view (views - 1 - k) are mirror images and share one index
table; filtered rows are upsampled by FFT, so the nearest sample serves for interpolation.
scikit-image's radon and iradon do the same in several times the time; the tests compare with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, hypot, pi, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.degradations.ramp_filter import UPSAMPLING, filter_rows


@dataclass(frozen=True)
class ParallelBeam:
    """Where the rays run: an image of rows x columns and the detector that covers its diagonal.

    views: over half a turn, an even number.
    """

    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    views: int
    pitch_mm: float

    @property
    def bins(self) -> int:
        """An odd number: the middle one looks through the centre of the image."""
        diagonal = hypot(*(n * d for n, d in zip(self.shape, self.spacing_mm, strict=True)))
        return 2 * (ceil(diagonal / self.pitch_mm / 2) + 2) + 1

    def angle(self, view: int) -> float:
        return pi * (view + 0.5) / self.views

    def bin_of_pixels(self, view: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Fractional bin of pixel (i, j): entry i of the rows plus entry j of the columns."""
        y, x = (
            (np.arange(n) - (n - 1) / 2) * (d / self.pitch_mm)
            for n, d in zip(self.shape, self.spacing_mm, strict=True)
        )
        rows = y * sin(self.angle(view)) + (self.bins - 1) / 2
        return rows.astype(np.float32), (x * cos(self.angle(view))).astype(np.float32)

    def line_integrals(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sums of an image [H, W] along the rays, times their length in mm: [views, bins].

        Each pixel is shared between the two nearest bins, so bins must not be narrower than pixels.
        """
        area = self.spacing_mm[0] * self.spacing_mm[1] / self.pitch_mm
        inside = np.flatnonzero(image)
        values = image.ravel()[inside] * area
        projections = np.empty((self.views, self.bins), np.float32)
        for view in range(self.views):
            rows, columns = self.bin_of_pixels(view)
            position = (rows[:, None] + columns).ravel()[inside]
            left = position.astype(np.intp)
            share = (position - left) * values
            projections[view] = np.bincount(left, values - share, self.bins)
            projections[view, 1:] += np.bincount(left, share, self.bins)[:-1]
        return projections

    def filtered_back_projection(self, projections: NDArray[np.float32]) -> NDArray[np.float32]:
        """The image [H, W] (per mm) whose line integrals these are: [views, bins]."""
        rows = filter_rows(projections, self.pitch_mm)
        half = self.views // 2
        # One gather serves two views: the mirror view travels in the imaginary part.
        tables = rows[:half] + 1j * rows[: half - 1 : -1]
        total = np.zeros(self.shape, np.complex64)
        for view, table in enumerate(tables):
            along_rows, along_columns = self.bin_of_pixels(view)
            index = (along_rows * UPSAMPLING)[:, None] + (along_columns * UPSAMPLING + 0.5)
            total += table[index.astype(np.intp)]
        return (total.real + total.imag[:, ::-1]) * np.float32(pi / self.views)

    def resample(
        self, projections: NDArray[np.float32], coarse: ParallelBeam
    ) -> NDArray[np.float32]:
        """Projections of a coarser beam on these views and bins, linear in both directions."""
        fine_bin = (np.arange(self.bins) - (self.bins - 1) / 2) * (self.pitch_mm / coarse.pitch_mm)
        bins = fine_bin + (coarse.bins - 1) / 2
        views = (np.arange(self.views) + 0.5) * (coarse.views / self.views) + 0.5
        return _linear(_linear(wrapped(projections), views).T, bins).T


def wrapped(projections: NDArray[np.float32]) -> NDArray[np.float32]:
    """With the view before the first and the one after the last: [views + 2, bins].

    The view before the first is the last one seen from the other side.
    """
    return np.concatenate([projections[-1:, ::-1], projections, projections[:1, ::-1]])


def _linear(rows: NDArray[np.float32], position: NDArray[Any]) -> NDArray[np.float32]:
    """Rows at fractional positions, held constant beyond the ends: [len(position), ...]."""
    position = position.clip(0, len(rows) - 1)
    left = np.minimum(position.astype(np.intp), len(rows) - 2)
    share = (position - left).astype(np.float32)[:, None]
    return np.asarray(rows[left] * (1 - share) + rows[left + 1] * share)
