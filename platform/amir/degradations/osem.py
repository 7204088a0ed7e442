"""OSEM: iterative reconstruction of emission counts from ordered subsets of the views.

Source: Hudson and Larkin, IEEE TMI 13(4), 1994; with one subset it is ML-EM (Shepp and Vardi, IEEE
TMI 1(2), 1982), whose likelihood never falls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from amir.degradations.seeding import check_bounds


def osem(
    sinogram: NDArray[np.float32],
    projector: sparse.csr_array,
    *,
    views: int,
    iterations: int = 4,
    subsets: int = 12,
) -> NDArray[np.float32]:
    """The activity that explains the counts: [H * W, n], in counts per unit of the projector.

    sinogram: counts [views * bins, n], n independent slices that share the projector
    [views * bins, H * W]. Starts from a uniform image; a slice without counts stays zero.
    """
    check_bounds("iterations", iterations, 1, 1000)
    check_bounds("subsets", subsets, 1, views)
    parts = [_subset(sinogram, projector, views, first, subsets) for first in range(subsets)]
    image = _uniform_start(sinogram, projector)
    for _ in range(iterations):
        for counts, rows, sensitivity in parts:
            image = _update(image, counts, rows, sensitivity)
    return image


def _subset(
    sinogram: NDArray[np.float32], projector: sparse.csr_array, views: int, first: int, step: int
) -> tuple[NDArray[np.float32], sparse.csr_array, NDArray[np.float32]]:
    """Counts, projector rows and sensitivity [H * W, 1] of every step-th view."""
    bins = projector.shape[0] // views
    chosen = (np.arange(first, views, step)[:, None] * bins + np.arange(bins)).ravel()
    rows = projector[chosen]
    sensitivity = rows.T @ np.ones((len(chosen), 1), np.float32)
    return sinogram[chosen], rows, sensitivity


def _uniform_start(
    sinogram: NDArray[np.float32], projector: sparse.csr_array
) -> NDArray[np.float32]:
    """A flat image with the right number of counts per slice: [H * W, n]."""
    level = sinogram.sum(axis=0, dtype=np.float64) / projector.sum(dtype=np.float64)
    return np.repeat(level[None, :].astype(np.float32), projector.shape[1], axis=0)


def _update(
    image: NDArray[np.float32],
    counts: NDArray[np.float32],
    rows: sparse.csr_array,
    sensitivity: NDArray[np.float32],
) -> NDArray[np.float32]:
    """One multiplicative step; a ray that expects nothing corrects nothing."""
    expected = rows @ image
    ratio = np.divide(counts, expected, out=np.zeros_like(expected), where=expected > 0)
    correction = np.asarray(rows.T @ ratio)
    np.divide(correction, sensitivity, out=correction, where=sensitivity > 0)
    correction *= image
    return correction


def log_likelihood(
    sinogram: NDArray[np.float32], projector: sparse.csr_array, image: NDArray[np.float32]
) -> float:
    """Poisson log-likelihood of the counts under the image, without its constant term."""
    expected = np.asarray(projector @ image, dtype=np.float64)
    seen = sinogram > 0
    return float(np.sum(sinogram[seen] * np.log(expected[seen])) - expected.sum())
