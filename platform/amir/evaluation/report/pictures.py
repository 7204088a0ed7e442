"""Slices as small PNG pictures inside a page, in fixed windows."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from amir.modality import SCORING_RANGES, Modality

Image = NDArray[np.float32]
COLOURS_OF_ERROR = ((120, 200, 255), (0, 60, 160), (12, 12, 14), (170, 70, 0), (255, 200, 110))


class Window(NamedTuple):
    """What is black and what is white, and the error at which its colours end; scaled units."""

    lower: float
    upper: float
    error: float
    unit: str


def window_of(task: Modality, targets: NDArray[np.int64]) -> Window:
    """One window for all slices of a task.

    targets: histogram of all its targets over the modelling range. CT: the soft tissue window it is
    scored in; MR and PET: up to the 99.5th percentile of the voxels above the lowest bin.
    """
    limits = SCORING_RANGES[task]
    if task is Modality.CT:
        return Window(limits.lower, limits.upper, 100.0, limits.unit)
    above = np.cumsum(targets[1:])
    if not len(above) or above[-1] == 0:
        return Window(limits.lower, limits.upper, limits.span / 4, limits.unit)
    bins = 2 + int(np.searchsorted(above, 0.995 * above[-1]))
    upper = limits.lower + bins * limits.span / len(targets)
    return Window(limits.lower, upper, (upper - limits.lower) / 4, limits.unit)


def grey_png(image: Image, window: Window, *, inverted: bool = False) -> str:
    """A data URI: the image [H, W] in the window's greys; inverted: white is low, as in PET."""
    shown = (image - window.lower) / (window.upper - window.lower)
    levels = np.round(255 * np.clip(shown, 0, 1)).astype(np.uint8)
    return _png(255 - levels if inverted else levels, None)


def error_png(error: Image, window: Window) -> str:
    """A data URI: black where nothing is wrong, blue where too low, orange where too high."""
    levels = np.round(127.5 + 127.5 * np.clip(error / window.error, -1, 1)).astype(np.uint8)
    return _png(levels, _palette())


def _palette() -> list[int]:
    stops = np.linspace(0, 255, len(COLOURS_OF_ERROR))
    channels = [
        np.interp(np.arange(256), stops, channel) for channel in zip(*COLOURS_OF_ERROR, strict=True)
    ]
    return [round(v) for colour in zip(*channels, strict=True) for v in colour]


def _png(levels: NDArray[np.uint8], palette: list[int] | None) -> str:
    from PIL import Image as Picture

    picture = Picture.fromarray(levels)
    if palette is not None:
        picture.putpalette(palette)
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()
