"""The noise that fewer photons add to a CT slice.

A ray through attenuation p expects N exp(-p) of its N incident photons; at a dose fraction d the
log-projection gains the variance (1 - d) / (d N exp(-p)) over the scan's own, and electronic noise
of e photons the variance (1 / d^2 - 1) e^2 / (N exp(-p))^2 (Yu et al., J Comput Assist Tomogr
36(4), 2012; Zabic et al., Med Phys 40(3), 2013). Only this noise is reconstructed: nothing blurs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amir.degradations.beam import Beam
from amir.degradations.parallel_beam import ParallelBeam

WATER_PER_MM = 0.0192  # attenuation of water at 70 keV, about the mean energy at 120 kV
AIR_HU = -1024.0
VARIANCE_VIEWS = 180
# A scanner repairs rays that hardly anything passes; without a floor, metal would fill the slice.
FEWEST_PHOTONS = 3.0


def photon_noise(
    image: NDArray[np.float32],
    generator: np.random.Generator,
    *,
    beam: Beam,
    photons: float,
    dose: float,
    electronic: float,
) -> NDArray[np.float32]:
    """Noise [H, W] in HU to add to a slice [H, W] in HU so that it looks taken at a dose fraction.

    photons: incident per ray (one detector bin wide, in one view) in the scan as it is.
    electronic: standard deviation of the detector's own noise, in photons.
    """
    passed = np.float32(photons) * np.exp(-attenuation(image, beam))
    noise = _draw(passed, generator, dose, electronic)
    return beam.filtered_back_projection(noise) * np.float32(1000 / WATER_PER_MM)


def _draw(
    passed: NDArray[np.float32], generator: np.random.Generator, dose: float, electronic: float
) -> NDArray[np.float32]:
    """Excess noise of the log-projections: a centred Poisson variable of the right variance."""
    expected = np.maximum(passed * (dose / (1 - dose)), FEWEST_PHOTONS)
    noise = (generator.poisson(expected) - expected) / expected
    if electronic > 0:
        deviation = electronic * np.sqrt(1 / dose**2 - 1) / np.maximum(passed, FEWEST_PHOTONS)
        noise += generator.standard_normal(passed.shape, np.float32) * deviation
    return np.asarray(noise, np.float32)


def attenuation(image: NDArray[np.float32], beam: Beam) -> NDArray[np.float32]:
    """Line integrals of a slice [H, W] in HU: [views, bins], dimensionless.

    They only set the noise's variance, which is smooth: they are taken at half the resolution and
    from VARIANCE_VIEWS views, then interpolated.
    """
    per_mm = WATER_PER_MM * np.maximum(1 + image / 1000, 0).astype(np.float32)
    even = np.pad(per_mm, [(0, n % 2) for n in image.shape])
    half = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean(axis=(1, 3))
    spacing = (2 * beam.spacing_mm[0], 2 * beam.spacing_mm[1])
    views = min(VARIANCE_VIEWS, beam.views)
    coarse = ParallelBeam((half.shape[0], half.shape[1]), spacing, views, max(spacing))
    return beam.resample(coarse.line_integrals(half), coarse)
