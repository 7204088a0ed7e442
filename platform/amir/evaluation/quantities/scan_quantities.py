"""Are the numbers in a restored scan still right: HU, SUV, histograms, clipped voxels.

PSNR does not ask: a small shift of a whole organ hardly changes it, and a diagnosis can hang on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.dataset.slices import SlicePair
from amir.degradations.photon_estimate import flat_noise, window_pixels
from amir.evaluation.quantities.hallucination import (
    ASSUMPTIONS,
    UNKNOWN,
    kspace_change,
    projection_change_ct,
    projection_change_pet,
)
from amir.evaluation.quantities.hot_regions import ISOCONTOUR, HotRegion, hot_regions
from amir.modality import MODELLING_RANGES, Modality

Image = NDArray[np.float32]
Images = dict[str, Image]  # degraded, restored and target, by name
IMAGES = ("degraded", "restored", "target")
BINS = 256  # over the modelling range: 16 HU or a.u., 0.08 SUV


@dataclass(frozen=True)
class ScanQuantities:
    """One scan. slices: a row of numbers per slice. histograms: image name -> counts [BINS].

    totals: numbers of the whole scan, by name; see `measure_scan`. hot_regions: PET only.
    """

    patient_id: str
    scan_id: str
    modality: Modality
    degradation: str
    totals: Mapping[str, float]
    slices: tuple[Mapping[str, Any], ...]
    histograms: Mapping[str, list[int]]
    hot_regions: tuple[HotRegion, ...] = field(default=())


def measure_scan(
    slices: Iterable[tuple[SlicePair, Image]], parameters: Mapping[str, Any]
) -> ScanQuantities:
    """Quantities of one scan from its slice pairs and their restored images [H, W], in order.

    parameters: of the degradation, as the manifest has them ({"name": "paired"} where unknown).
    totals: for CT, `mean_shift` in HU over the flat soft tissue of all slices, for the restored and
    the degraded scan; for PET, of each image `suv_max`, `suv_mean` over the voxels above 41 % of
    the target's maximum, and `activity`, the sum of SUV; for PET the projection residual.
    """
    rows, pairs, restored = [], [], []
    counts = {name: np.zeros(BINS, np.int64) for name in IMAGES}
    for pair, image in slices:
        rows.append(measure_slice(pair, image, parameters))
        for name, amount in _histograms(pair, image).items():
            counts[name] += amount
        if pair.modality is Modality.PET:  # the only one whose quantities need the whole scan
            pairs.append(pair)
            restored.append(image)
    first = pair
    totals, regions = _flat_totals(rows), []
    if pairs:
        stacks = _stacks(pairs, restored)
        totals = _suv_totals(stacks) | _pet_residual(stacks, pairs, parameters)
        regions = hot_regions(
            stacks["target"], stacks["restored"], voxel_ml=float(np.prod(_axial_mm(first)) / 1000)
        )
    return ScanQuantities(
        first.patient_id,
        first.scan_id,
        first.modality,
        str(parameters["name"]),
        totals,
        tuple(rows),
        {name: amount.tolist() for name, amount in counts.items()},
        tuple(regions),
    )


def measure_slice(
    pair: SlicePair, restored: Image, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """One row: who and where, means, histogram distances, clipped voxels, and the data check.

    histogram_*: Wasserstein distance to the target's histogram, physical units. handed_through:
    voxels of the degraded slice outside the modelling range, which no network sees. at_limit:
    restored voxels that stand at its upper end.
    """
    row: dict[str, Any] = {
        "patient_id": pair.patient_id,
        "scan_id": pair.scan_id,
        "modality": str(pair.modality),
        "slice_index": pair.slice_index,
        "voxels": pair.target.size,
    }
    row |= {f"mean_{name}": float(image.mean()) for name, image in _images(pair, restored).items()}
    row["histogram_degraded"] = histogram_distance(pair.degraded, pair.target)
    row["histogram_restored"] = histogram_distance(restored, pair.target)
    row |= _clipped(pair, restored)
    if pair.modality is Modality.CT:
        row |= flat_shift(pair, restored)
    return row | _data_check(pair, restored, parameters)


def flat_shift(pair: SlicePair, restored: Image) -> dict[str, float]:
    """CT: mean difference to the target in HU where the target's soft tissue is flat.

    flat_pixels: how many there are; with none the shifts are nan.
    """
    found = flat_noise(pair.target, window_pixels(pair.spacing_mm))
    if found is None:
        return {"flat_pixels": 0, "flat_shift_degraded": np.nan, "flat_shift_restored": np.nan}
    _, flat = found
    return {
        "flat_pixels": int(flat.sum()),
        "flat_shift_degraded": float((pair.degraded - pair.target)[flat].mean()),
        "flat_shift_restored": float((restored - pair.target)[flat].mean()),
    }


def histogram_distance(image: Image, target: Image) -> float:
    """Wasserstein distance between the intensities of two images of one size, their units: how far
    voxels have to be moved along the intensity axis, on average.
    """
    return float(np.abs(np.sort(image, axis=None) - np.sort(target, axis=None)).mean())


def _images(pair: SlicePair, restored: Image) -> Images:
    return {"degraded": pair.degraded, "restored": restored, "target": pair.target}


def _clipped(pair: SlicePair, restored: Image) -> dict[str, int]:
    limits, scale = MODELLING_RANGES[pair.modality], np.float32(pair.scale)
    scaled = pair.degraded * scale
    outside = (scaled < limits.lower) | (scaled > limits.upper)
    at_limit = (restored * scale >= limits.upper) & ~outside
    return {"handed_through": int(outside.sum()), "at_limit": int(at_limit.sum())}


def _histograms(pair: SlicePair, restored: Image) -> dict[str, NDArray[np.int64]]:
    limits, scale = MODELLING_RANGES[pair.modality], np.float32(pair.scale)
    return {
        name: np.histogram(limits.clip(image * scale), BINS, (limits.lower, limits.upper))[0]
        for name, image in _images(pair, restored).items()
    }


def _data_check(
    pair: SlicePair, restored: Image, parameters: Mapping[str, Any]
) -> dict[str, float]:
    """What the slice's change does to the measured data; nothing where the sampling is unknown.

    MR on the network's scale, so that scans can be compared.
    """
    scale = np.float32(pair.scale)
    images = pair.degraded * scale, restored * scale, pair.target * scale
    if parameters["name"] == "kspace":
        factor = parameters["factor"]
        return kspace_change(*images, factor=factor if isinstance(factor, int) else tuple(factor))
    if parameters["name"] == "low_dose":
        return projection_change_ct(*images, spacing_mm=pair.spacing_mm, parameters=parameters)
    return {}


def _flat_totals(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The shift over the flat pixels of all slices."""
    flat = [row for row in rows if row.get("flat_pixels", 0)]
    if not flat:
        return {}
    pixels = [row["flat_pixels"] for row in flat]
    return {
        f"mean_shift_{name}": float(
            np.average([row[f"flat_shift_{name}"] for row in flat], weights=pixels)
        )
        for name in ("degraded", "restored")
    }


def _stacks(pairs: list[SlicePair], restored: list[Image]) -> Images:
    """[n, H, W] with zeros where a slice of air was left out."""
    index = np.array([pair.slice_index for pair in pairs])
    index -= index.min()
    stacks: Images = {}
    for name, images in (
        ("degraded", [pair.degraded for pair in pairs]),
        ("restored", restored),
        ("target", [pair.target for pair in pairs]),
    ):
        stacks[name] = np.zeros((index.max() + 1, *images[0].shape), np.float32)
        stacks[name][index] = images
    return stacks


def _axial_mm(pair: SlicePair) -> tuple[float, float, float]:
    """Row, column and slice spacing of the axial slices behind coronal ones.

    A coronal slice says how far its rows (axial slices) and its columns are apart; the rows of an
    axial slice are taken to be as far apart as its columns, as in PET they are.
    """
    between, column = pair.spacing_mm
    return column, column, between


def _suv_totals(stacks: Images) -> dict[str, float]:
    hot = stacks["target"] >= ISOCONTOUR * stacks["target"].max()
    totals = {}
    for name, stack in stacks.items():
        totals[f"suv_max_{name}"] = float(stack.max())
        totals[f"suv_mean_{name}"] = float(stack[hot].mean())
        totals[f"activity_{name}"] = float(stack.sum(dtype=np.float64))
    return totals


def _pet_residual(
    stacks: Images, pairs: list[SlicePair], parameters: Mapping[str, Any]
) -> dict[str, float]:
    if parameters["name"] != "low_count":
        return {}
    axial = {name: np.moveaxis(stack, 1, 0) for name, stack in stacks.items()}
    return projection_change_pet(
        axial["degraded"],
        axial["restored"],
        axial["target"],
        spacing_mm=_axial_mm(pairs[0]),
        parameters=parameters,
    )


def assumption(degradation: str) -> str:
    """What the data check takes for granted, to stand beside its numbers."""
    return ASSUMPTIONS.get(degradation, UNKNOWN)
