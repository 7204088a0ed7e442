"""How many coincidences leave the body: attenuation of 511 keV in a body of water.

A PET scan alone does not hold its attenuation map. The body is taken to be where its smoothed
activity is above a threshold, holes filled slice by slice, and to be water throughout: lungs count
for too much and bone for too little.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

WATER_PER_MM = 0.0096  # at 511 keV (NIST XCOM: 0.0959 per cm)
BODY_SUV = 0.1
SMOOTHING_MM = 8.0  # full width at half maximum: bridges the noise of a cold thigh


def body_mask(
    activity: NDArray[np.float32], spacing_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """The body in slices [n, H, W] in SUV; each slice stands alone."""
    widths = [SMOOTHING_MM / 2.3548 / spacing for spacing in spacing_mm[:2]]
    smooth = ndimage.gaussian_filter(activity, (0, *widths))
    in_plane = ndimage.generate_binary_structure(2, 1)[None]
    return np.asarray(ndimage.binary_fill_holes(smooth > BODY_SUV, in_plane), np.bool_)


def survival(mask: NDArray[np.bool_], projector: sparse.csr_array) -> NDArray[np.float32]:
    """The share of each ray's coincidences that both photons carry out: [rays, n], 0 to 1."""
    water_mm = projector @ mask.reshape(len(mask), -1).T.astype(np.float32)
    return np.asarray(np.exp(-np.float32(WATER_PER_MM) * water_mm), np.float32)


def survival_of_disc(area_mm2: float) -> float:
    """The share of all coincidences that leaves a disc of water with even activity."""
    turn = np.linspace(-pi / 2, pi / 2, 2001)
    chord = 2 * sqrt(area_mm2 / pi) * np.cos(turn)
    emitted = np.cos(turn) ** 2
    return float((emitted * np.exp(-WATER_PER_MM * chord)).sum() / emitted.sum())
