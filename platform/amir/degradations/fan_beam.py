"""Fan-beam filtered back-projection: rays at equal angles from a source on a full circle.

Kak and Slaney, Principles of Computerized Tomographic Imaging, section 3.4.1: each ray is weighted
by the source's distance and the cosine of its angle in the fan, filtered with the ramp for equal
angles, and back-projected over the square of the distance between source and pixel. Views stand at
half steps of a full turn, so four of them are mirror images and share one table of indices and one
of weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, ceil, cos, hypot, pi, sin

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from amir.degradations.parallel_beam import ParallelBeam, wrapped
from amir.degradations.ramp_filter import UPSAMPLING, filter_rows


@dataclass(frozen=True)
class FanBeam:
    """A source that turns around the middle of an image of rows x columns.

    The detector is an arc around the source that covers the image's diagonal; its elements are
    pitch_mm wide where the middle of the image is. views: over a full turn, a multiple of four.
    """

    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    views: int
    pitch_mm: float
    source_mm: float

    @property
    def pitch(self) -> float:
        """Angle between neighbouring rays, radians."""
        return self.pitch_mm / self.source_mm

    @property
    def bins(self) -> int:
        """An odd number: the middle one looks through the centre of the image."""
        diagonal = hypot(*(n * d for n, d in zip(self.shape, self.spacing_mm, strict=True)))
        return 2 * (ceil(asin(diagonal / 2 / self.source_mm) / self.pitch) + 2) + 1

    def angle(self, view: int) -> float:
        return 2 * pi * (view + 0.5) / self.views

    def fan_angles(self) -> NDArray[np.float64]:
        """Of each bin against the middle one, radians: [bins]."""
        return np.asarray((np.arange(self.bins) - self.bins // 2) * self.pitch)

    def resample(
        self, projections: NDArray[np.float32], parallel: ParallelBeam
    ) -> NDArray[np.float32]:
        """Projections of a parallel beam on these rays, linear in both directions: [views, bins].

        The ray at angle g of view b runs in the parallel view b - g, at source_mm * sin(g).
        """
        in_fan = self.fan_angles()
        direction = (2 * np.arange(self.views) + 1)[:, None] * (pi / self.views) - in_fan
        half_turns = np.floor(direction / pi)
        views = (direction / pi - half_turns) * parallel.views + 0.5
        # After an odd number of half turns a parallel view is seen from the other side.
        side = np.where(half_turns % 2, -1, 1)
        bins = side * np.sin(in_fan) * (self.source_mm / parallel.pitch_mm) + parallel.bins // 2
        rays = ndimage.map_coordinates(wrapped(projections), [views, bins], order=1, mode="nearest")
        return np.asarray(rays, np.float32)

    def filtered_back_projection(self, projections: NDArray[np.float32]) -> NDArray[np.float32]:
        """The image [H, W] (per mm) whose line integrals these are: [views, bins]."""
        weighted = projections * (self.source_mm * np.cos(self.fan_angles())).astype(np.float32)
        rows = filter_rows(_fours(weighted), self.pitch, fan=True)
        # One gather serves two views: the second travels in the imaginary part.
        tables = rows[:, ::2] + 1j * rows[:, 1::2]
        totals = np.zeros((2, *self.shape), np.complex64)
        for view, pair in enumerate(tables):
            index, weight = self._pixels(view)
            for total, table in zip(totals, pair, strict=True):
                total += table[index] * weight
        straight, mirrored = totals
        image = straight.real + straight.imag[::-1, ::-1]
        image += mirrored.real[:, ::-1] + mirrored.imag[::-1]
        return np.asarray(image * np.float32(2 * pi / self.views))

    def _pixels(self, view: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Where each pixel [H, W] looks in the filtered row, and 1 / distance to the source^2."""
        y, x = (
            ((np.arange(n) - (n - 1) / 2) * d).astype(np.float32)
            for n, d in zip(self.shape, self.spacing_mm, strict=True)
        )
        c, s = np.float32(cos(self.angle(view))), np.float32(sin(self.angle(view)))
        across = y[:, None] * s + x * c
        along = (y * c + np.float32(self.source_mm))[:, None] - x * s
        fine = np.arctan(across / along) * np.float32(UPSAMPLING / self.pitch)
        fine += np.float32((self.bins // 2) * UPSAMPLING + 0.5)
        return fine.astype(np.intp), 1 / (across * across + along * along)


def _fours(projections: NDArray[np.float32]) -> NDArray[np.float32]:
    """Views that share a table, from the first quarter turn: [views // 4, 4, bins].

    The view and its opposite, which sees the image turned by half; then the mirror images of both,
    in which the detector runs backwards.
    """
    half, quarter = len(projections) // 2, len(projections) // 4
    backwards = projections[::-1, ::-1]
    views = projections[:quarter], projections[half : half + quarter]
    mirrored = backwards[:quarter], backwards[half : half + quarter]
    return np.stack([*views, *mirrored], axis=1)
