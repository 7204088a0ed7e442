"""Could the scanner have measured the restored image? What a restoration changed, seen as data.

Where it is known how the degraded scan was sampled, a restoration's change is split into what
contradicts the measured data and what the data cannot see. The first should be no larger than for
the target itself, which is always given beside it; the second is invention that only the target,
and at the bedside nothing, can check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.degradations.kspace import Factor, keep_central_kspace
from amir.degradations.low_count import counts_per_projection
from amir.degradations.parallel_beam import ParallelBeam
from amir.degradations.photon_noise import FEWEST_PHOTONS, WATER_PER_MM, attenuation
from amir.degradations.projector import system_matrix

Image = NDArray[np.float32]
CT_VIEWS, PET_VIEWS = 60, 24  # evenly spread over what was simulated with 720 and 180
THINNEST = 0.05  # rays through less attenuation see air
FEWEST_COUNTS = 0.05  # expected in a ray; below, its noise is not to be told

ASSUMPTIONS = {
    "kspace": (
        "The scanner measured the central 1/factor of k-space on either axis and nothing else. A "
        "change inside it contradicts the measurement; a change outside is invisible to it. Phase "
        "is taken as zero (only magnitudes are stored), so the target itself differs a little "
        "inside."
    ),
    "low_dose": (
        "Monochromatic parallel rays (for a simulated fan beam too), with the photons, dose and "
        "electronic noise of the simulation. The residual is the change's projections in units of "
        "the noise of each ray, root mean square over rays through the body; as reconstruction "
        "smooths noise, compare it with the target's, not with one."
    ),
    "low_count": (
        "Counts as simulated, attenuation and scatter as corrected, coronal slices as far apart as "
        "their columns. The residual is the change's projections in units of the counting noise of "
        "each ray, root mean square; as reconstruction and post-filter smooth noise, compare it "
        "with the target's, not with one."
    ),
}
UNKNOWN = (
    "The sampling of these scans is not known (they came as pairs), so no image can be said to "
    "contradict the measured data."
)


def kspace_change(
    degraded: Image, restored: Image, target: Image, *, factor: Factor
) -> dict[str, float]:
    """MRI: how much was changed inside and outside of the sampled k-space, image units, RMS.

    All [H, W]. inside^2 + outside^2 is the mean square of the change (Parseval). free_error: what
    is wrong outside, where no measurement objects.
    """
    changed, wanted = restored - degraded, target - degraded
    inside, outside = _split(changed, factor)
    inside_target, outside_target = _split(wanted, factor)
    return {
        "inside": inside,
        "outside": outside,
        "inside_target": inside_target,
        "outside_target": outside_target,
        "free_error": _split(restored - target, factor)[1],
    }


def projection_change_ct(
    degraded: Image,
    restored: Image,
    target: Image,
    *,
    spacing_mm: tuple[float, float],
    parameters: Mapping[str, Any],
) -> dict[str, float]:
    """CT: projections of the change in units of the ray's noise, RMS over rays through the body.

    All [H, W] in HU. parameters: photons, dose, electronic of the simulation.
    """
    shape = degraded.shape[0], degraded.shape[1]
    beam = ParallelBeam(shape, spacing_mm, CT_VIEWS, min(spacing_mm))
    path = attenuation(degraded, beam)
    photons, dose = parameters["photons"], parameters["dose"]
    passed = np.maximum(photons * np.exp(-path), FEWEST_PHOTONS)
    variance = (1 - dose) / (dose * passed)
    variance += (parameters["electronic"] * photons / passed) ** 2 * (1 / dose**2 - 1)
    body = path > THINNEST

    def residual(image: Image) -> float:
        change = np.asarray((image - degraded) * (WATER_PER_MM / 1000), np.float32)
        scaled = beam.line_integrals(change)[body] / np.sqrt(variance[body])
        return _rms(scaled)

    return {"residual": residual(restored), "residual_target": residual(target)}


def projection_change_pet(
    degraded: Image,
    restored: Image,
    target: Image,
    *,
    spacing_mm: tuple[float, float, float],
    parameters: Mapping[str, Any],
) -> dict[str, float]:
    """PET: projections of the change in units of the ray's counting noise, RMS over rays.

    All axial [n, H, W] in SUV, spacing of (row, column, slice). parameters: full_counts,
    dose_reduction, views of the simulation. Between full and thinned counts a projection p (SUV mm)
    differs with the variance p (R - 1) / S, R the reduction and S the counts per unit of
    projection.
    """
    projector = system_matrix(degraded.shape[1:], spacing_mm[:2], PET_VIEWS)
    sensitivity = counts_per_projection(projector, spacing_mm, parameters["full_counts"])
    sensitivity *= np.float32(PET_VIEWS / parameters["views"])
    reduction = parameters["dose_reduction"]

    def projected(stack: Image) -> Image:
        return np.asarray(projector @ stack.reshape(len(stack), -1).T, np.float32)

    counts = projected(degraded) * sensitivity / reduction
    seen = counts > FEWEST_COUNTS
    deviation = np.sqrt(counts[seen] * reduction * (reduction - 1)) / sensitivity

    def residual(stack: Image) -> float:
        return _rms(projected(stack - degraded)[seen] / deviation)

    return {"residual": residual(restored), "residual_target": residual(target)}


def _split(change: Image, factor: Factor) -> tuple[float, float]:
    inside = keep_central_kspace(change, factor=factor)
    return _rms(np.abs(inside)), _rms(np.abs(change - inside))


def _rms(values: NDArray[Any]) -> float:
    return (
        float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
        if values.size
        else float("nan")
    )
