"""OSEM: iterative reconstruction of emission counts from ordered subsets of the views.

Source: Hudson and Larkin, IEEE TMI 13(4), 1994; with one subset it is ML-EM (Shepp and Vardi, IEEE
TMI 1(2), 1982), whose likelihood never falls. Attenuation and background stand in the model of the
counts, survival * (projector @ image) + background, so nothing is subtracted from them and they
stay Poisson. A subset's update gives the image that subset's counts and no others: with few of them
the last subset would set a slice's total, so a last update of one scale per slice uses them all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from amir.degradations.seeding import check_bounds

# Of the counts, the least that the uniform start is made of, however strong the background.
LEAST_START = 0.05


class Subset(NamedTuple):
    """Every step-th view: counts [rays, n] and what they are compared with.

    rows: [rays, H * W]. sensitivity: [H * W, 1 or n]. floor: background over survival [rays, n],
    None where nothing is added.
    """

    counts: NDArray[np.float32]
    rows: sparse.csr_array
    sensitivity: NDArray[np.float32]
    floor: NDArray[np.float32] | None


def osem(
    sinogram: NDArray[np.float32],
    projector: sparse.csr_array,
    *,
    views: int,
    iterations: int = 4,
    subsets: int = 12,
    survival: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The activity that explains the counts: [H * W, n], in counts per unit of the projector.

    sinogram: counts [views * bins, n], n independent slices that share the projector
    [views * bins, H * W]. survival (above 0 to 1) and background (counts) are per ray [views *
    bins, n], or None for 1 and 0. Starts from a uniform image; a slice without counts stays zero.
    """
    check_bounds("iterations", iterations, 1, 1000)
    check_bounds("subsets", subsets, 1, views)
    parts = [
        _subset(rays, sinogram, projector, survival, background)
        for rays in _rays_of_subsets(projector.shape[0] // views, views, subsets)
    ]
    image = _uniform_start(sinogram, projector, survival, background)
    for _ in range(iterations):
        for part in parts:
            image = _update(image, part)
    return image * _scale(sinogram, projector @ image, survival, background)


def _rays_of_subsets(bins: int, views: int, subsets: int) -> list[NDArray[np.intp]]:
    """Rays of every subsets-th view, from the first on, the second on, and so on."""
    return [
        (np.arange(first, views, subsets)[:, None] * bins + np.arange(bins)).ravel()
        for first in range(subsets)
    ]


def _subset(
    rays: NDArray[np.intp],
    sinogram: NDArray[np.float32],
    projector: sparse.csr_array,
    survival: NDArray[np.float32] | None,
    background: NDArray[np.float32] | None,
) -> Subset:
    rows = projector[rays]
    seen = np.ones((len(rays), 1), np.float32) if survival is None else survival[rays]
    floor = None if background is None else background[rays] / seen
    return Subset(sinogram[rays], rows, np.asarray(rows.T @ seen), floor)


def _uniform_start(
    sinogram: NDArray[np.float32],
    projector: sparse.csr_array,
    survival: NDArray[np.float32] | None,
    background: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """A flat image with the right number of counts per slice: [H * W, n]."""
    counts = sinogram.sum(axis=0, dtype=np.float64)
    if background is not None:
        counts = np.maximum(counts - background.sum(axis=0, dtype=np.float64), LEAST_START * counts)
    if survival is None:
        level = counts / projector.sum(dtype=np.float64)
    else:
        level = counts / (np.asarray(projector.sum(axis=1, dtype=np.float64)).ravel() @ survival)
    return np.repeat(level[None, :].astype(np.float32), projector.shape[1], axis=0)


def _update(image: NDArray[np.float32], part: Subset) -> NDArray[np.float32]:
    """One multiplicative step; a ray that expects nothing corrects nothing.

    Survival cancels out of counts / expected times survival, but for the floor.
    """
    expected = part.rows @ image
    if part.floor is not None:
        expected += part.floor
    ratio = np.divide(part.counts, expected, out=np.zeros_like(expected), where=expected > 0)
    correction = np.asarray(part.rows.T @ ratio)
    np.divide(correction, part.sensitivity, out=correction, where=part.sensitivity > 0)
    correction *= image
    return correction


def _scale(
    counts: NDArray[np.float32],
    trues: NDArray[np.float32],
    survival: NDArray[np.float32] | None,
    background: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """An EM step for the scale of each slice, [n]; without background all counts over all expected.

    trues: projector @ image. The likelihood never falls.
    """
    if survival is not None:
        trues = trues * survival
    expected = trues if background is None else trues + background
    share = np.divide(trues, expected, out=np.zeros_like(expected), where=expected > 0)
    found = np.einsum("rn,rn->n", counts, share, dtype=np.float64)
    total = trues.sum(axis=0, dtype=np.float64)
    scale = np.divide(found, total, out=np.ones_like(total), where=total > 0)
    return np.asarray(scale, np.float32)


def log_likelihood(
    sinogram: NDArray[np.float32],
    projector: sparse.csr_array,
    image: NDArray[np.float32],
    *,
    survival: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
) -> float:
    """Poisson log-likelihood of the counts under the image, without its constant term."""
    expected = np.asarray(projector @ image, dtype=np.float64)
    if survival is not None:
        expected *= survival
    if background is not None:
        expected += background
    seen = sinogram > 0
    return float(np.sum(sinogram[seen] * np.log(expected[seen])) - expected.sum())
