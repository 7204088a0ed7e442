"""PET at low count: coincidences are thinned, then both doses are reconstructed alike.

Source: the paper, section 3.1 (random decimation of list mode by 12, OSEM for both doses). A scan
that is only known as an image is projected first; attenuation, scatter and randoms are taken as
corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from amir.degradations.body import body_mask, survival, survival_of_disc
from amir.degradations.osem import osem
from amir.degradations.outcome import Degraded
from amir.degradations.projector import system_matrix
from amir.degradations.seeding import check_bounds, check_slices, slice_generator

# An axial slice of a reference adult: SUV 1 over 400 cm2, 4 mm thick.
REFERENCE_SLICE_MM2 = 40_000.0
REFERENCE_SLICE_ML = 160.0
MARGIN = 8  # pixels of air around the slice, so that noise at the border has somewhere to go
SLICES_AT_ONCE = 32  # bounds the memory of the sinograms

Attenuation = Literal["none", "water"]


class Scanner(NamedTuple):
    """How activity becomes counts, and counts an image."""

    full_counts: float
    attenuation: Attenuation
    background: float
    views: int
    iterations: int
    subsets: int


def thin_counts(
    slices: NDArray[np.float32],
    *,
    spacing_mm: tuple[float, float, float],
    seeds: Sequence[int],
    dose_reduction: float = 12.0,
    full_counts: float = 6e4,
    attenuation: Attenuation = "none",
    background: float = 0.0,
    iterations: int = 4,
    subsets: int = 12,
    views: int = 180,
    post_filter_mm: float = 6.0,
    target: Literal["reconstruction", "source"] = "reconstruction",
) -> Degraded:
    """PET slices reconstructed from full and from thinned counts.

    slices: an axial stack [n, H, W] in SUV. full_counts: expected true coincidences from an axial
    slice of a reference adult (SUV 1 over 400 cm2, 4 mm thick); other slices give in proportion to
    their activity times their volume. By default they are noise-equivalent counts: attenuation and
    background, which cost a real scan most of its precision, are folded in. The default keeps the
    noise in the liver of a whole body scan (Soft-tissue-Sarcoma STS_001, GE Discovery ST, 4 min a
    bed): what is finer than 4 voxels there is 25 % of the mean in the scan and 25 % in its
    reconstruction at full counts, with grains alike (neighbours in a row correlate by 0.66 and
    0.62); thinned it is 60 %. Checked by a test on that scan.

    attenuation "water": rays lose what a body of water takes from them (see `body`); the reference
    slice, a disc of water, still gives full_counts, a larger body fewer. background: scatter and
    randoms as a share of all coincidences of a slice, the same on every ray; they come on top of
    full_counts and are thinned with them. The post-filter (full width at half maximum) also acts
    between slices, as a scanner's does, so a result depends on its neighbours: pass a whole scan.
    Without it every slice stands alone.
    """
    check_slices(slices, seeds)
    check_bounds("dose_reduction", dose_reduction, 1, 1e4)
    check_bounds("full_counts", full_counts, 1, 1e12)
    check_bounds("background", background, 0, 0.95)
    scanner = Scanner(full_counts, attenuation, background, views, iterations, subsets)
    activity = np.pad(slices.clip(0), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    full, thinned = np.empty_like(activity), np.empty_like(activity)
    for start in range(0, len(slices), SLICES_AT_ONCE):
        chunk = slice(start, start + SLICES_AT_ONCE)
        full[chunk], thinned[chunk] = _both_doses(
            activity[chunk], spacing_mm, seeds[chunk], dose_reduction, scanner
        )
    smooth = [_cut(_post_filter(stack, spacing_mm, post_filter_mm)) for stack in (full, thinned)]
    parameters = {
        "name": "low_count",
        "dose_reduction": dose_reduction,
        **scanner._asdict(),
        "post_filter_mm": post_filter_mm,
        "target": target,
    }
    reference = slices.astype(np.float32) if target == "source" else smooth[0]
    return Degraded(smooth[1], reference, parameters)


def _both_doses(
    activity: NDArray[np.float32],
    spacing_mm: tuple[float, float, float],
    seeds: Sequence[int],
    dose_reduction: float,
    scanner: Scanner,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Full-count and thinned reconstructions in SUV, each [n, H, W], without a post-filter."""
    projector = system_matrix(activity.shape[1:], spacing_mm[:2], scanner.views)
    sensitivity = counts_per_projection(projector, spacing_mm, scanner.full_counts)
    expected = projector @ activity.reshape(len(activity), -1).T
    survive, floor = None, None
    if scanner.attenuation == "water":
        survive = survival(body_mask(activity, spacing_mm), projector)
        expected *= survive
        sensitivity /= np.float32(survival_of_disc(REFERENCE_SLICE_MM2))
    if scanner.background > 0:
        floor = _floor(expected, scanner.background)
        expected += floor
    full, thinned = _draw_counts(expected * sensitivity, seeds, dose_reduction)
    counts = np.concatenate([full / sensitivity, thinned * (dose_reduction / sensitivity)], axis=1)
    images = osem(
        counts,
        projector,
        views=scanner.views,
        iterations=scanner.iterations,
        subsets=scanner.subsets,
        survival=_twice(survive),
        background=_twice(floor),
    )
    stacks = images.T.reshape(2, *activity.shape)
    return stacks[0], stacks[1]


def _floor(trues: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Scatter and randoms: their share of all coincidences of a slice, even over its rays."""
    level = trues.mean(axis=0, dtype=np.float64) * (share / (1 - share))
    return np.broadcast_to(level.astype(np.float32), trues.shape)


def _twice(rays: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """For the full and for the thinned counts."""
    return None if rays is None else np.concatenate([rays, rays], axis=1)


def counts_per_projection(
    projector: sparse.csr_array, spacing_mm: tuple[float, float, float], full_counts: float
) -> np.float32:
    """Expected coincidences per unit (SUV mm) of projection of a slice.

    Every pixel gives the same sum over all rays, so activity and counts are in proportion.
    """
    per_pixel = projector.sum(dtype=np.float64) / projector.shape[1]
    voxel_ml = np.prod(spacing_mm) / 1000
    return np.float32(full_counts / REFERENCE_SLICE_ML * voxel_ml / per_pixel)


def _draw_counts(
    expected: NDArray[np.float32], seeds: Sequence[int], dose_reduction: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Poisson counts of the full dose and their binomial thinning: [views * bins, n] each."""
    full, thinned = np.empty_like(expected), np.empty_like(expected)
    for column, seed in enumerate(seeds):
        generator = slice_generator(seed)
        full[:, column] = generator.poisson(expected[:, column])
        thinned[:, column] = generator.binomial(
            full[:, column].astype(np.int64), 1 / dose_reduction
        )
    return full, thinned


def _post_filter(
    stack: NDArray[np.float32], spacing_mm: tuple[float, float, float], width_mm: float
) -> NDArray[np.float32]:
    """Gaussian of the given full width at half maximum, in plane and between slices: [n, H, W]."""
    row, column, between = (width_mm / 2.3548 / spacing for spacing in spacing_mm)
    smooth = ndimage.gaussian_filter(stack, (between, row, column), mode="nearest", truncate=3)
    return np.asarray(smooth, dtype=np.float32)


def _cut(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """The stack without the air that was put around it."""
    return np.ascontiguousarray(stack[:, MARGIN:-MARGIN, MARGIN:-MARGIN])
