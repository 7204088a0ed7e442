"""Is this an image for this network? What is refused, what is flagged, and in which words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from amir.config import Answer, TrustSettings
from amir.degradations.kspace import detail_beyond
from amir.errors import InputError
from amir.inference.trust.air import AIR
from amir.modality import MODELLING_RANGES, Modality

if TYPE_CHECKING:  # it imports torch, which processes that only read files do without
    from amir.inference.trust.outliers import OutlierStatistics

Slices = NDArray[np.float32]

PAPER_KSPACE_FACTOR = 4
# Of real and of phantom scans, those that were cropped by a factor have at most 0.06 / factor, the
# fully sampled ones at least 0.1 / factor (docs/trust.md).
DETAIL = 0.08  # times 1 / factor: more of it outside the centre of k-space was never cropped
LOOKED_AT = 16  # slices, evenly spread, whose k-space is looked at


@dataclass(frozen=True)
class Flag:
    """A doubt that goes into the report. code: stable, one of amir.errors.CODES."""

    code: Literal["empty", "outlier"]
    message: str


@dataclass(frozen=True)
class OutlierVerdict:
    """What the slices' scores say of the scan.

    score: their median; None where the model stores no statistics. slices: that have a score.
    beyond: of these, above the bound.
    """

    score: float | None
    slices: int
    beyond: int
    flag: Flag | None


def kspace_factor_of(statistics: OutlierStatistics | None) -> int:
    """By which a model's training data was cropped; the paper's where nobody has measured it."""
    return PAPER_KSPACE_FACTOR if statistics is None else statistics.kspace_factor


def check_scan(
    degraded: Slices,
    modality: Modality,
    settings: TrustSettings,
    *,
    scale: float = 1.0,
    kspace_factor: int = PAPER_KSPACE_FACTOR,
) -> list[Flag]:
    """Doubts about a scan before anything is restored.

    degraded: [n, H, W], in the scan's units, upsampled if it is to be. scale: its intensity scale.
    kspace_factor: by which the network's training data was cropped, 1 if it was not.
    InputError("empty" or "outlier") where the settings refuse.
    """
    if emptiness := _emptiness(degraded, modality, scale):
        return _answer([Flag("empty", emptiness)], settings.empty)
    if modality is Modality.MRI and settings.full_kspace != "off":
        return _answer(_too_detailed(degraded, kspace_factor), settings.full_kspace)
    return []


def judge_outliers(scores: NDArray[np.float64], settings: TrustSettings) -> OutlierVerdict:
    """The verdict on a scan by its slices' outlier scores [n], NaN where there is none.

    InputError("outlier") where the settings refuse.
    """
    known = scores[np.isfinite(scores)]
    if not known.size:
        return OutlierVerdict(None, 0, 0, None)
    score = float(np.median(known))
    flags = []
    if settings.outliers != "off" and score > settings.outlier_bound:
        message = (
            f"this is not what the network was trained for: its slices lie {score:.1f} times as "
            "far from the training data as 95 % of held-out slices do at most, and "
            f"{settings.outlier_bound:g} is the bound; check the modality and the units"
        )
        flags = _answer([Flag("outlier", message)], settings.outliers)
    beyond = int((known > settings.outlier_bound).sum())
    return OutlierVerdict(score, known.size, beyond, flags[0] if flags else None)


def _answer(flags: Iterable[Flag], answer: Answer) -> list[Flag]:
    flags = list(flags)
    if flags and answer == "refuse":
        raise InputError(flags[0].code, flags[0].message)
    return flags


def _emptiness(degraded: Slices, modality: Modality, scale: float) -> str | None:
    lowest, highest = float(degraded.min()), float(degraded.max())
    if lowest == highest:
        return f"every voxel of the scan is {lowest:g}; there is nothing to restore"
    limits = MODELLING_RANGES[modality]
    if highest * scale < limits.lower + AIR * limits.span:
        return (
            f"the scan holds nothing but air: its largest value is {highest:g} {limits.unit}; "
            "check the modality and the units"
        )
    return None


def _too_detailed(degraded: Slices, factor: int) -> list[Flag]:
    every = max(1, len(degraded) // LOOKED_AT)
    detail = detail_beyond(degraded[::every], factor=factor)
    if factor == 1 or detail <= DETAIL / factor:
        return []
    message = (
        "this is not what the network was trained for: the scan's k-space is full, training saw "
        f"only the central 1/{factor} of each axis; restore a scan of low resolution, and if its "
        f"matrix is small, upsample it by {factor}"
    )
    return [Flag("outlier", message)]
