"""Where a model failed: slices by their gain over the degraded input, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from amir.errors import InputError
from amir.evaluation.methods import BASELINE
from amir.modality import Modality

Row = dict[str, Any]


class SliceGain(NamedTuple):
    """One slice before and after. gain: PSNR after minus before, dB. shard, row: its place."""

    modality: Modality
    patient_id: str
    scan_id: str
    slice_index: int
    shard: str
    row: int
    psnr_degraded: float
    psnr: float
    ssim: float
    gain: float


def slice_gains(scores: pa.Table, method: str) -> list[SliceGain]:
    """Every slice that has a finite gain, worst first within its task.

    scores: rows of scores.parquet. InputError for a method that is not in it.
    """
    known = scores["method"].unique().to_pylist()
    if method not in known:
        raise InputError(
            "invalid_setting", f"no method {method!r} was scored; choose from {', '.join(known)}"
        )
    before = {_place(row): row["psnr"] for row in _rows(scores, BASELINE)}
    found = [
        _gain(row, before[_place(row)])
        for row in _rows(scores, method)
        if _is_finite(row["psnr"]) and _is_finite(before[_place(row)])
    ]
    order = list(Modality)
    return sorted(found, key=lambda one: (order.index(one.modality), one.gain, one[1:4]))


def made_worse(gains: Sequence[SliceGain]) -> list[SliceGain]:
    """Those that the model should have left alone."""
    return [one for one in gains if one.gain < 0]


def worst_median_best(gains: Sequence[SliceGain]) -> dict[str, SliceGain]:
    """Three slices to look at, of one task's gains; fewer where there are fewer slices."""
    ordered = sorted(gains, key=lambda one: one.gain)
    places = {"best": len(ordered) - 1, "median": len(ordered) // 2, "worst": 0}
    chosen: dict[str, SliceGain] = {}
    for name, place in places.items():
        if ordered and ordered[place] not in chosen.values():
            chosen[name] = ordered[place]
    return chosen


def _rows(scores: pa.Table, method: str) -> list[Row]:
    rows: list[Row] = scores.filter(pc.equal(scores["method"], method)).to_pylist()
    return rows


def _gain(row: Row, before: float) -> SliceGain:
    where = {name: row[name] for name in ("patient_id", "scan_id", "slice_index", "shard", "row")}
    return SliceGain(
        modality=Modality(row["modality"]),
        psnr_degraded=before,
        psnr=row["psnr"],
        ssim=row["ssim"],
        gain=row["psnr"] - before,
        **where,
    )


def _place(row: Row) -> tuple[str, int]:
    return row["scan_id"], row["slice_index"]


def _is_finite(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))
