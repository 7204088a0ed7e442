"""The instructions of many slices in the plane (the paper's Fig. III a), and how far tasks part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
SMALLEST_TSNE = 8  # with fewer points a neighbourhood means nothing
PERPLEXITY = 30.0


def project(
    instructions: NDArray[np.float32], *, method: Literal["pca", "tsne"] = "tsne", seed: int = 0
) -> Points:
    """[n, width] to [n, 2].

    pca: the two directions of most variance; distances mean something. tsne: van der Maaten and
    Hinton 2008, started from PCA, perplexity 30 or a third of n if smaller; only who is near whom
    means something. With fewer than 8 points it is PCA all the same.
    """
    if method == "pca" or len(instructions) < SMALLEST_TSNE:
        return _pca(instructions)
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(instructions) - 1) / 3)
    tsne = TSNE(n_components=2, init="pca", perplexity=perplexity, random_state=seed)
    return np.asarray(tsne.fit_transform(instructions), np.float64)


def separation(instructions: NDArray[np.float32], tasks: Sequence[str]) -> float | None:
    """Mean silhouette of the tasks in the full space (Rousseeuw 1987), -1 to 1.

    1: slices of a task lie together and far from others. None unless there are two tasks and more
    slices than tasks.
    """
    if not 1 < len(set(tasks)) < len(tasks):
        return None
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(instructions, list(tasks)))


def _pca(instructions: NDArray[np.float32]) -> Points:
    centred = instructions.astype(np.float64) - instructions.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    points: Points = np.zeros((len(centred), 2))
    found = centred @ directions[:2].T
    points[:, : found.shape[1]] = found
    return points
