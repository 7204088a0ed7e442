"""One scan's slices to rows of scores: the paper's three, and what reviewers ask for besides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from amir.dataset.slices import SlicePair
from amir.errors import InputError
from amir.metrics import SMALLEST_SIDE, LocalMoments, local_moments, ms_ssim, psnr_of
from amir.modality import SCORING_RANGES, IntensityRange, Modality

Row = dict[str, Any]
Image = NDArray[np.float32]
Scored = NDArray[np.float64]

PAPER_METRICS = ("psnr", "ssim", "rmse")
FURTHER_METRICS = ("fixed_psnr", "fixed_ssim", "nrmse", "ms_ssim", "volume_psnr", "volume_ssim")
SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("model_digest", pa.string()),
        ("patient_id", pa.string()),
        ("scan_id", pa.string()),
        ("modality", pa.string()),
        ("slice_index", pa.int32()),
        ("shard", pa.string()),
        ("row", pa.int32()),
        ("data_range", pa.float64()),
        *((metric, pa.float64()) for metric in (*PAPER_METRICS, *FURTHER_METRICS)),
    ]
)


class ScanScorer:
    """Scores the slices of one scan as one method restored them; then their rows.

    volume_range: maximum minus minimum of the whole clipped target, see `target_range`.
    """

    def __init__(self, shard: str, modality: Modality, volume_range: float) -> None:
        self.shard = shard
        self.limits = SCORING_RANGES[modality]
        self.volume_range = volume_range
        self._rows: list[Row] = []
        self._squares = 0.0  # summed over the scan
        self._pixels = 0
        self._similarities: list[float] = []  # of every slice, with the volume's range

    def add(self, pair: SlicePair, restored: Image, *, method: str) -> None:
        """Score the next slice. InputError("not_finite") names the slice and the method."""
        images = {method: restored, "the target": pair.target}
        for name, image in images.items():
            _check_finite(image, pair, name)
        x, y = (_scored(image, pair.scale, self.limits) for image in images.values())
        moments = local_moments(x, y)
        squares = float(np.square(x - y).sum())
        self._squares += squares
        self._pixels += y.size
        if self.volume_range:
            self._similarities.append(moments.ssim(self.volume_range))
        error = math.sqrt(squares / y.size)
        self._rows.append(
            {
                "patient_id": pair.patient_id,
                "scan_id": pair.scan_id,
                "modality": str(pair.modality),
                "slice_index": pair.slice_index,
                "shard": self.shard,
                "row": len(self._rows),
                "rmse": error,
                **_own_range(x, y, error, moments),
                **_fixed_range(y, error, moments, self.limits),
            }
        )

    def table(self, method: str = "", digest: str = "") -> pa.Table:
        """The rows of all slices, each with the scores of the volume."""
        volume: Row = {"volume_psnr": None, "volume_ssim": None}
        if self.volume_range and self._rows:
            error = math.sqrt(self._squares / self._pixels)
            volume["volume_psnr"] = psnr_of(error, self.volume_range)
            volume["volume_ssim"] = math.fsum(self._similarities) / len(self._similarities)
        named = {"method": method, "model_digest": digest}
        return pa.Table.from_pylist([named | row | volume for row in self._rows], schema=SCHEMA)


def target_range(pairs: Iterable[SlicePair]) -> float:
    """Maximum minus minimum of a scan's targets within the scoring range; 0 without slices."""
    lowest, highest = math.inf, -math.inf
    for pair in pairs:
        target = _scored(pair.target, pair.scale, SCORING_RANGES[pair.modality])
        lowest, highest = min(lowest, float(target.min())), max(highest, float(target.max()))
    return max(0.0, highest - lowest)


def _own_range(
    x: Scored, y: Scored, error: float, moments: LocalMoments
) -> Mapping[str, float | None]:
    """What takes the slice's own data range; nothing for a constant target."""
    data_range = float(y.max() - y.min())
    if data_range == 0:
        return {"data_range": 0.0}
    return {
        "data_range": data_range,
        "psnr": psnr_of(error, data_range),
        "ssim": moments.ssim(data_range),
        "ms_ssim": ms_ssim(x, y, data_range, moments) if min(y.shape) >= SMALLEST_SIDE else None,
    }


def _fixed_range(
    y: Scored, error: float, moments: LocalMoments, limits: IntensityRange
) -> Mapping[str, float | None]:
    """What does not depend on the slice's own range. CT is counted from its lower limit."""
    strength = math.sqrt(np.square(y - limits.lower).mean())
    return {
        "fixed_psnr": psnr_of(error, limits.span),
        "fixed_ssim": moments.ssim(limits.span),
        "nrmse": error / strength if strength else None,
    }


def _scored(image: Image, scale: float, limits: IntensityRange) -> Scored:
    """The image as it is scored: on the network's scale (MR only), in the scoring range."""
    scaled = image if scale == 1 else image * np.float32(scale)
    return limits.clip(scaled.astype(np.float64))


def _check_finite(image: Image, pair: SlicePair, name: str) -> None:
    if not np.isfinite(image).all():
        wrong = int(np.count_nonzero(~np.isfinite(image)))
        raise InputError(
            "not_finite",
            f"{name} has {wrong} pixels that are not finite in patient {pair.patient_id}, scan "
            f"{pair.scan_id}, slice {pair.slice_index} ({pair.modality}): no score can be given; "
            "leave this model or this scan out",
        )
