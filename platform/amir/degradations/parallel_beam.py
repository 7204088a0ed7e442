"""Parallel-beam line integrals and filtered back-projection, fast enough for full-size CT slices.

Kak and Slaney, Principles of Computerized Tomographic Imaging, chapter 3. Views stand at half steps
between 0 and 180 degrees, so view k and view (views - 1 - k) are mirror images and share one index
table; filtered rows are upsampled by FFT, so the nearest sample serves for interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, hypot, pi, sin

import numpy as np
from numpy.typing import NDArray
from scipy import fft

UPSAMPLING = 8


@dataclass(frozen=True)
class Beam:
    """Where the rays run: an image of rows x columns and the detector that covers its diagonal."""

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


def line_integrals(image: NDArray[np.float32], beam: Beam) -> NDArray[np.float32]:
    """Sums of an image [H, W] along the rays, times their length in mm: [views, bins].

    Each pixel is shared between the two nearest bins, so bins must not be narrower than pixels.
    """
    area = beam.spacing_mm[0] * beam.spacing_mm[1] / beam.pitch_mm
    inside = np.flatnonzero(image)
    values = image.ravel()[inside] * area
    projections = np.empty((beam.views, beam.bins), np.float32)
    for view in range(beam.views):
        rows, columns = beam.bin_of_pixels(view)
        position = (rows[:, None] + columns).ravel()[inside]
        left = position.astype(np.intp)
        share = (position - left) * values
        projections[view] = np.bincount(left, values - share, beam.bins)
        projections[view, 1:] += np.bincount(left, share, beam.bins)[:-1]
    return projections


def filtered_back_projection(projections: NDArray[np.float32], beam: Beam) -> NDArray[np.float32]:
    """The image [H, W] (per mm) whose line integrals these are: [views, bins], views even."""
    rows = _filter(projections, beam.pitch_mm)
    half = beam.views // 2
    # One gather serves two views: the mirror view travels in the imaginary part.
    tables = rows[:half] + 1j * rows[: half - 1 : -1]
    total = np.zeros(beam.shape, np.complex64)
    for view, table in enumerate(tables):
        along_rows, along_columns = beam.bin_of_pixels(view)
        index = (along_rows * UPSAMPLING)[:, None] + (along_columns * UPSAMPLING + 0.5)
        total += table[index.astype(np.intp)]
    return (total.real + total.imag[:, ::-1]) * np.float32(pi / beam.views)


def _filter(projections: NDArray[np.float32], pitch_mm: float) -> NDArray[np.float32]:
    """Ramp-filtered rows on a grid UPSAMPLING times finer: [views, bins * UPSAMPLING]."""
    bins = projections.shape[1]
    length = fft.next_fast_len(2 * bins, real=True)
    length += length % 2
    response = ramp_response(length) / np.float32(pitch_mm)
    spectrum = fft.rfft(projections, length, axis=1) * response
    fine = fft.irfft(spectrum, length * UPSAMPLING, axis=1)[:, : bins * UPSAMPLING]
    return np.asarray(fine * np.float32(UPSAMPLING), np.float32)


def ramp_response(length: int) -> NDArray[np.float32]:
    """The band-limited ramp under a Hann window, as a soft tissue kernel: [length // 2 + 1].

    Frequencies run from 0 to half a cycle per bin, where the window reaches zero.
    """
    frequency = fft.rfftfreq(length)
    distance = np.minimum(np.arange(length), length - np.arange(length))
    odd = distance % 2 == 1
    kernel = np.zeros(length)
    kernel[odd] = -1 / (pi * distance[odd]) ** 2
    kernel[0] = 1 / 4
    window = (1 + np.cos(2 * pi * frequency)) / 2
    return np.asarray(fft.rfft(kernel).real * window, np.float32)
