"""Overlapping tiles of a slice that is too large for one forward, and their seamless sum.

The instruction is to be computed once, from the whole slice, and handed to every tile; the sums
over all pixels that channel attention is made of come from all tiles (`tile_attention`). Not exact:
what tiles share counts twice in those sums, and a tile does not see beyond its border.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from amir.inference.padding import MINIMUM, MULTIPLE

Image = NDArray[np.float32]
Window = tuple[slice, slice]


def tile_shape(height: int, width: int, *, pixels: int) -> tuple[int, int]:
    """Height and width, multiples of 8, of tiles of at most so many pixels; square where it can be.

    height, width: of a padded slice.
    """
    side = _floor(isqrt(pixels))
    if height <= width:
        rows = min(height, side)
        return rows, min(width, _floor(pixels // rows))
    columns = min(width, side)
    return min(height, _floor(pixels // columns)), columns


def windows(height: int, width: int, *, pixels: int, overlap: int) -> list[Window]:
    """The tiles of a padded slice, all of one shape, each sharing `overlap` pixels or more."""
    rows, columns = tile_shape(height, width, pixels=pixels)
    return [
        (slice(top, top + rows), slice(left, left + columns))
        for top in _starts(height, rows, overlap)
        for left in _starts(width, columns, overlap)
    ]


class Blending:
    """The weighted sum of tiles: each fades out towards those sides that have a neighbour."""

    def __init__(self, height: int, width: int, *, overlap: int) -> None:
        self.overlap = overlap
        self._sum = np.zeros((height, width), np.float32)
        self._weight = np.zeros((height, width), np.float32)

    def add(self, window: Window, tile: Image) -> None:
        weight = np.outer(
            *(
                _fading(w, size, self.overlap)
                for w, size in zip(window, self._sum.shape, strict=True)
            )
        )
        self._sum[window] += weight * tile
        self._weight[window] += weight

    def image(self) -> Image:
        """[height, width]."""
        return self._sum / self._weight


def _starts(length: int, size: int, overlap: int) -> Iterator[int]:
    last = length - size
    yield from range(0, last, size - overlap) if last else ()
    yield last


def _fading(window: slice, length: int, overlap: int) -> NDArray[np.float32]:
    """Weights along one side: 1, but a ramp where a neighbour takes over."""
    steps = np.arange(window.stop - window.start, dtype=np.float32) + 0.5
    rising = np.clip(steps / overlap, 0, 1) if window.start > 0 else np.ones_like(steps)
    falling = np.clip(steps[::-1] / overlap, 0, 1) if window.stop < length else np.ones_like(steps)
    return np.minimum(rising, falling)


def _floor(size: int) -> int:
    return max(MINIMUM, size // MULTIPLE * MULTIPLE)
