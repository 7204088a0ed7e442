"""CT at low dose: the noise of fewer photons, added to slices that keep their own.

HU become attenuation, attenuation becomes expected photons per ray, and the Poisson and electronic
noise that a dose fraction adds is reconstructed by filtered back-projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.degradations.beam import SOURCE_TO_ISOCENTRE_MM, Beam, Geometry, beam_through
from amir.degradations.outcome import Degraded
from amir.degradations.photon_estimate import estimate_photons
from amir.degradations.photon_noise import AIR_HU, photon_noise
from amir.degradations.seeding import check_bounds, check_slices, slice_generator

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
    geometry: Geometry = "parallel",
    source_to_isocentre_mm: float = SOURCE_TO_ISOCENTRE_MM,
) -> Degraded:
    """CT slices as they came, and as a fraction of their dose would have given them.

    slices: [n, H, W] in HU. photons: incident per ray; None estimates them from the noise of these
    slices (so pass the estimate when a scan comes in chunks, see `measure_photons`). electronic:
    standard deviation of the detector's own noise as a share of the incident photons; a share,
    because the estimate is of effective photons: kernel, slice thickness and crop are folded in.
    geometry: parallel, with `views` over half a turn; or fan, with `views` over a full turn, the
    slice's middle at the isocentre and detector elements on an arc around the source, one pixel
    wide at the isocentre. Padding below -1024 HU (outside the reconstruction circle) counts as air
    for the rays, gets no noise and keeps its value. Elsewhere nothing falls below -1024 HU, as in a
    scanner's 12 bits.
    """
    check_slices(slices, seeds)
    check_bounds("dose", dose, 1e-3, 0.999)
    beam = beam_through(
        slices.shape,
        spacing_mm,
        geometry=geometry,
        views=views,
        source_to_isocentre_mm=source_to_isocentre_mm,
    )
    found = measure_photons(slices, beam, photons=photons, fallback_photons=fallback_photons)
    degraded = np.empty(slices.shape, np.float32)
    for image, seed, out in zip(slices, seeds, degraded, strict=True):
        noise = photon_noise(
            image,
            slice_generator(seed),
            beam=beam,
            photons=found["photons"],
            dose=dose,
            electronic=electronic * found["photons"],
        )
        out[:] = np.where(image < AIR_HU, image, np.maximum(image + noise, AIR_HU))
    parameters: dict[str, Any] = {
        "name": "low_dose",
        "dose": dose,
        "electronic": electronic,
        "views": views,
        "geometry": geometry,
    }
    if geometry == "fan":
        parameters["source_to_isocentre_mm"] = source_to_isocentre_mm
    return Degraded(degraded, slices.astype(np.float32), parameters | found)


def measure_photons(
    slices: NDArray[np.float32],
    beam: Beam,
    *,
    photons: float | None = None,
    fallback_photons: float = FALLBACK_PHOTONS,
) -> dict[str, Any]:
    """The incident photons per ray, and whether setting, scan or fallback told them."""
    if photons is not None:
        return {"photons": float(photons), "photons_from": "setting"}
    estimate = estimate_photons(slices, beam)
    if estimate is None:
        return {"photons": float(fallback_photons), "photons_from": "fallback"}
    return {"photons": estimate, "photons_from": "scan"}
