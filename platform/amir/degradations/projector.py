"""The parallel-beam projector as one sparse matrix, shared by all slices of a scan.

A pixel is a rectangle; its shadow on the detector is a trapezoid. An entry of the matrix is the
part of the shadow that falls on a detector bin: the strip-area model, exact for piecewise constant
images.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, cos, hypot, pi, sin

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@lru_cache(maxsize=2)
def system_matrix(
    shape: tuple[int, int], spacing_mm: tuple[float, float], views: int
) -> sparse.csr_array:
    """Line integrals of an image: float32 [views * bins, H * W], in mm, views over 180 degrees.

    Bins are as wide as the finer pixel side and cover the image's diagonal: nothing is truncated.
    The transpose is the back-projector.
    """
    pitch = min(spacing_mm)
    bins = ceil(hypot(shape[0] * spacing_mm[0], shape[1] * spacing_mm[1]) / pitch) + 2
    rows = [_view(shape, spacing_mm, pi * view / views, bins, pitch) for view in range(views)]
    return sparse.vstack(rows, format="csr", dtype=np.float32)


def _view(
    shape: tuple[int, int], spacing_mm: tuple[float, float], angle: float, bins: int, pitch: float
) -> sparse.csr_array:
    """The rows of one view: [bins, H * W]."""
    y = (np.arange(shape[0]) - (shape[0] - 1) / 2) * spacing_mm[0]
    x = (np.arange(shape[1]) - (shape[1] - 1) / 2) * spacing_mm[1]
    centre = (y[:, None] * sin(angle) + x[None, :] * cos(angle)).ravel()
    sides = abs(sin(angle)) * spacing_mm[0], abs(cos(angle)) * spacing_mm[1]
    first = np.floor((centre - sum(sides) / 2) / pitch + bins / 2).astype(np.int64)
    touched = first[:, None] + np.arange(ceil(sum(sides) / pitch) + 1)
    edges = (np.concatenate([touched, touched[:, -1:] + 1], axis=1) - bins / 2) * pitch
    share = np.diff(_shadow_left_of(edges - centre[:, None], *sides), axis=1)
    area = spacing_mm[0] * spacing_mm[1]
    pixel = np.broadcast_to(np.arange(centre.size)[:, None], touched.shape)
    hit = share > 1e-6
    entries = (share[hit] * (area / pitch), (touched[hit], pixel[hit]))
    return sparse.csr_array(entries, shape=(bins, centre.size), dtype=np.float32)


def _shadow_left_of(position: NDArray[np.float64], a: float, b: float) -> NDArray[np.float64]:
    """The part of a pixel's shadow left of a position (mm from its centre).

    The shadow is a box of width a smoothed by a box of width b; this is its integral.
    """
    a, b = max(a, b), max(min(a, b), 1e-5 * max(a, b))

    def ramp(shift: float) -> NDArray[np.float64]:
        return np.square(np.maximum(position + shift, 0.0)) / 2

    outer, inner = (a + b) / 2, (a - b) / 2
    return (ramp(outer) - ramp(inner) - ramp(-inner) + ramp(-outer)) / (a * b)
