"""The ramp filter of filtered back-projection, band-limited and under a Hann window.

Kak and Slaney, Principles of Computerized Tomographic Imaging, chapter 3: eq. 61 for parallel rays,
eq. 99 for rays at equal angles from one source.
"""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray
from scipy import fft

UPSAMPLING = 8  # filtered rows come on a finer grid, so that the nearest sample can be taken


def filter_rows(
    projections: NDArray[np.float32], pitch: float, *, fan: bool = False
) -> NDArray[np.float32]:
    """Filtered rows on a grid UPSAMPLING times finer: [..., bins * UPSAMPLING].

    projections: [..., bins], pitch apart: in mm, or for a fan in radians.
    """
    bins = projections.shape[-1]
    length = fft.next_fast_len(2 * bins, real=True)
    length += length % 2
    response = ramp_response(length, pitch if fan else 0.0) / np.float32(pitch)
    spectrum = fft.rfft(projections, length, axis=-1) * response
    fine = fft.irfft(spectrum, length * UPSAMPLING, axis=-1)[..., : bins * UPSAMPLING]
    return np.asarray(fine * np.float32(UPSAMPLING), np.float32)


def ramp_response(length: int, angle: float = 0.0) -> NDArray[np.float32]:
    """The ramp under a Hann window, as a soft tissue kernel: [length // 2 + 1].

    Frequencies run from 0 to half a cycle per bin, where the window reaches zero. angle: between
    the rays of a fan, radians; 0 for parallel rays.
    """
    frequency = fft.rfftfreq(length)
    distance = np.minimum(np.arange(length), length - np.arange(length))
    odd = distance % 2 == 1
    kernel = np.zeros(length)
    kernel[odd] = -1 / (pi * distance[odd]) ** 2
    kernel[0] = 1 / 4
    if angle:
        kernel /= 2 * np.sinc(distance * angle / pi) ** 2
    window = (1 + np.cos(2 * pi * frequency)) / 2
    return np.asarray(fft.rfft(kernel).real * window, np.float32)
