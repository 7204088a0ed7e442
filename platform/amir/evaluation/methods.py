"""What is compared: each method turns the degraded slices of a pair into restored ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from amir.checkpoint import load
from amir.dataset.manifest import Manifest
from amir.dataset.slices import SlicePair, spread_slices
from amir.inference.restorer import Restorer
from amir.modality import Modality

BASELINE, GAUSSIAN = "Degraded input", "Gaussian filter"
Image = NDArray[np.float32]
SIGMAS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0)  # pixels
SLICES_TO_CHOOSE_BY = 24


class Method(Protocol):
    """name: its row in the table. digest: of its model, empty without one."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    def restore(self, pairs: Sequence[SlicePair]) -> Sequence[Image]:
        """The restored slices of some pairs of one scan, which are of one size."""


class Contender(Protocol):
    """A method before it is loaded: what a table's row is made from, wherever it is computed.

    identity: what decides its restored slices, beside code and data.
    """

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def identity(self) -> str: ...
    def load(self, device: str) -> Method: ...


@dataclass(frozen=True)
class DegradedInput:
    """Nothing done: the score every method has to beat."""

    name: str = BASELINE
    digest: str = ""
    identity: str = "degraded"

    def load(self, device: str) -> DegradedInput:
        return self

    def restore(self, pairs: Sequence[SlicePair]) -> Sequence[Image]:
        return [pair.degraded for pair in pairs]


@dataclass(frozen=True)
class GaussianFilter:
    """The plainest denoiser. sigmas: per task, in pixels, chosen on the training split."""

    sigmas: Mapping[Modality, float]
    name: str = GAUSSIAN
    digest: str = ""

    @property
    def identity(self) -> str:
        return f"gaussian {dict(self.sigmas)}"

    def note(self) -> str:
        """The chosen widths, for below the table."""
        widths = ", ".join(f"{task} {sigma:g}" for task, sigma in self.sigmas.items())
        return f"Gaussian filter: sigma in pixels, chosen on the training split: {widths}."

    def load(self, device: str) -> GaussianFilter:
        return self

    def restore(self, pairs: Sequence[SlicePair]) -> Sequence[Image]:
        return [_blurred(pair.degraded, self.sigmas[pair.modality]) for pair in pairs]


@dataclass(frozen=True)
class Model:
    """A checkpoint by its row's name, its folder and its digest."""

    name: str
    folder: Path
    digest: str

    @property
    def identity(self) -> str:
        return f"model {self.digest}"

    def load(self, device: str) -> RestoredBy:
        return RestoredBy(Restorer.of(load(self.folder), device=device), self.name)


class RestoredBy:
    """A model, through the one restoration path."""

    def __init__(self, restorer: Restorer, name: str) -> None:
        self.restorer, self.name, self.digest = restorer, name, restorer.digest

    def restore(self, pairs: Sequence[SlicePair]) -> Sequence[Image]:
        degraded = np.stack([pair.degraded for pair in pairs])
        first = pairs[0]
        return list(self.restorer.restore_slices(degraded, first.modality, scale=first.scale))


def choose_gaussian_filter(
    folder: Path, manifest: Manifest, tasks: Sequence[Modality]
) -> GaussianFilter:
    """The width with the best mean PSNR over training slices, for each task."""
    return GaussianFilter({task: _best_sigma(folder, manifest, task) for task in tasks})


def _best_sigma(folder: Path, manifest: Manifest, task: Modality) -> float:
    pairs = spread_slices(folder, manifest, "train", task, SLICES_TO_CHOOSE_BY)
    return max(SIGMAS, key=lambda sigma: _mean_psnr(pairs, sigma))


def _mean_psnr(pairs: Sequence[SlicePair], sigma: float) -> float:
    scores = [pair.score(_blurred(pair.degraded, sigma)).psnr for pair in pairs]
    finite = [score for score in scores if np.isfinite(score)]
    return float(np.mean(finite)) if finite else 0.0


def _blurred(image: Image, sigma: float) -> Image:
    blurred: Image = gaussian_filter(image, sigma) if sigma else image
    return blurred
