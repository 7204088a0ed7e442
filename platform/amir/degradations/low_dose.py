"""CT at low dose: the noise of fewer photons, added to slices that keep their own.

HU become attenuation, attenuation becomes expected photons per ray, and the Poisson and electronic
noise that a dose fraction adds is reconstructed by filtered back-projection (parallel beam).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.degradations.outcome import Degraded
from amir.degradations.photon_estimate import estimate_photons
from amir.degradations.photon_noise import AIR_HU, photon_noise
from amir.degradations.seeding import check_bounds, check_slices, slice_generator
from amir.errors import InputError

FALLBACK_PHOTONS = 2e6  # 11 HU of noise in the middle of 32 cm of water, 0.7 mm pixels


def lower_dose(
    slices: NDArray[np.float32],
    *,
    spacing_mm: tuple[float, float, float],
    seeds: Sequence[int],
    dose: float = 0.25,
    photons: float | None = None,
    fallback_photons: float = FALLBACK_PHOTONS,
    electronic: float = 5e-6,
    views: int = 720,
) -> Degraded:
    """CT slices as they came, and as a fraction of their dose would have given them.

    slices: [n, H, W] in HU. photons: incident per ray; None estimates them from the noise of these
    slices (so pass the estimate when a scan comes in chunks, see `measure_photons`). electronic:
    standard deviation of the detector's own noise as a share of the incident photons; a share,
    because the estimate is of effective photons: kernel, slice thickness and crop are folded in.
    Padding below -1024 HU (outside the reconstruction circle) counts as air for the rays, gets no
    noise and keeps its value. Elsewhere nothing falls below -1024 HU, as in a scanner's 12 bits.
    """
    check_slices(slices, seeds)
    check_bounds("dose", dose, 1e-3, 0.999)
    _check_views(views)
    found = measure_photons(
        slices,
        spacing_mm=spacing_mm,
        photons=photons,
        fallback_photons=fallback_photons,
        views=views,
    )
    degraded = np.empty(slices.shape, np.float32)
    for image, seed, out in zip(slices, seeds, degraded, strict=True):
        noise = photon_noise(
            image,
            slice_generator(seed),
            spacing_mm=(spacing_mm[0], spacing_mm[1]),
            photons=found["photons"],
            dose=dose,
            electronic=electronic * found["photons"],
            views=views,
        )
        out[:] = np.where(image < AIR_HU, image, np.maximum(image + noise, AIR_HU))
    parameters = {"name": "low_dose", "dose": dose, "electronic": electronic, "views": views}
    return Degraded(degraded, slices.astype(np.float32), parameters | found)


def measure_photons(
    slices: NDArray[np.float32],
    *,
    spacing_mm: tuple[float, float, float],
    photons: float | None = None,
    fallback_photons: float = FALLBACK_PHOTONS,
    views: int = 720,
) -> dict[str, Any]:
    """The incident photons per ray, and whether setting, scan or fallback told them."""
    if photons is not None:
        return {"photons": float(photons), "photons_from": "setting"}
    estimate = estimate_photons(slices, spacing_mm=spacing_mm, views=views)
    if estimate is None:
        return {"photons": float(fallback_photons), "photons_from": "fallback"}
    return {"photons": estimate, "photons_from": "scan"}


def _check_views(views: int) -> None:
    if views < 2 or views % 2:
        raise InputError(
            "invalid_setting", f"views is {views}; choose an even number of at least 2"
        )
