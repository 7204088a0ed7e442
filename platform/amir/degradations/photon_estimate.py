"""How many photons a CT scan was taken with, judged by the noise in its flat soft tissue.

The level is the most frequent local standard deviation in soft tissue (the global noise level of
Christianson et al., AJR 205(1), 2015); the photons are those at which simulated noise shows as
much.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from amir.degradations.beam import Beam
from amir.degradations.photon_noise import photon_noise
from amir.degradations.seeding import slice_generator

SOFT_TISSUE_HU = (-20.0, 140.0)
WINDOW_MM = 7.0  # side of the neighbourhood whose deviation counts
FLATNESS = 1.4  # how far a flat place may lie from the most frequent deviation
FEWEST_PIXELS = 200
TRIAL_PHOTONS = 1e6
PHOTON_LIMITS = (1e3, 1e8)


def estimate_photons(slices: NDArray[np.float32], beam: Beam) -> float | None:
    """Incident photons per ray: the median over three slices; None where no soft tissue is flat.

    slices: [n, H, W] in HU.
    """
    chosen = sorted({len(slices) // 4, len(slices) // 2, 3 * len(slices) // 4})
    found = [_photons_of_slice(slices[k], beam) for k in chosen]
    known = [photons for photons in found if photons is not None]
    return float(np.median(known).clip(*PHOTON_LIMITS)) if known else None


def flat_noise(image: NDArray[np.float32], window: int) -> tuple[float, NDArray[np.bool_]] | None:
    """The noise level in HU of a slice's flat soft tissue, and where [H, W] it was read."""
    lower, upper = SOFT_TISSUE_HU
    smooth = ndimage.uniform_filter(image, window)
    tissue = ndimage.binary_erosion((smooth > lower) & (smooth < upper), iterations=window)
    deviation = local_deviation(image, window)
    level = _most_frequent(deviation[tissue])
    flat = tissue & (deviation > level / FLATNESS) & (deviation < level * FLATNESS)
    if level == 0 or flat.sum() < FEWEST_PIXELS:
        return None
    return float(np.median(deviation[flat])), flat


def window_pixels(spacing_mm: tuple[float, float]) -> int:
    """The neighbourhood's side: an odd number of pixels, five at least, or the grains hide."""
    return max(5, 2 * round(WINDOW_MM / max(spacing_mm) / 2) + 1)


def local_deviation(image: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Standard deviation in the window around each pixel: [H, W]."""
    image = image.astype(np.float64)
    mean = ndimage.uniform_filter(image, window)
    square = ndimage.uniform_filter(image**2, window)
    return np.asarray(np.sqrt(np.maximum(square - mean**2, 0)), np.float32)


def _most_frequent(values: NDArray[np.float32]) -> float:
    """The mode, from a smoothed histogram of the logarithm; values must be positive to count."""
    logarithms = np.log(values[values > 1e-3])
    if logarithms.size == 0:
        return 0.0
    counts, edges = np.histogram(logarithms, bins=np.arange(-7, 7, 0.05))
    peak = int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), 2)))
    return float(np.exp((edges[peak] + edges[peak + 1]) / 2))


def _photons_of_slice(image: NDArray[np.float32], beam: Beam) -> float | None:
    window = window_pixels(beam.spacing_mm)
    found = flat_noise(image, window)
    if found is None:
        return None
    level, flat = found
    # At half the dose the added variance equals that of the full dose.
    trial = photon_noise(
        image,
        slice_generator(0),
        beam=beam,
        photons=TRIAL_PHOTONS,
        dose=0.5,
        electronic=0.0,
    )
    shown = float(np.median(local_deviation(trial, window)[flat]))
    return TRIAL_PHOTONS * (shown / level) ** 2
