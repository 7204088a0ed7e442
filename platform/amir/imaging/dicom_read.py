"""Read a classic CT, MR or PET series: sorted by geometry, in HU, SUV or the stored scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from amir.errors import InputError
from amir.imaging.dicom_files import read_slices, refused_when_garbled
from amir.imaging.dicom_geometry import affine_of, sorted_slices
from amir.imaging.dicom_pixels import decode_stored
from amir.imaging.dicom_slice import Slice, missing_tag, tag_name
from amir.imaging.dicom_suv import check_is_activity, suv_factors
from amir.imaging.scan import DicomSource, Scan, Voxels, check_voxel_count
from amir.modality import MODELLING_RANGES, Modality


def read_series(
    source: Path | Sequence[Path], *, modality: Modality | None = None, unit: str | None = None
) -> Scan:
    """The one series of a folder, a list of files or a file, as voxels [column, row, slice].

    unit: "Bq/ml" leaves a PET series without SUV conversion; "HU" vouches for a CT without rescale
    tags. MR stays in its stored scale. Padding values are kept as stored, rescaled like all others.
    """
    slices = read_slices(source)
    with refused_when_garbled("the series"):
        slices = sorted_slices(slices)
        found = slices[0].modality
        _check_said(found, modality, unit)
        check_voxel_count((slices[0].columns, slices[0].rows, len(slices)), name="the series")
        rescales = _rescales(slices, vouched=unit is not None)
        unit = unit or MODELLING_RANGES[found].unit
        factors = _unit_factors(slices, unit)
        affine = affine_of(slices)
    voxels = _decode(slices, rescales, factors)
    headers = tuple(item.dataset for item in slices)
    return Scan(
        voxels, affine, found, unit, DicomSource(headers, factors, tuple(s.digest for s in slices))
    )


def _check_said(found: Modality, modality: Modality | None, unit: str | None) -> None:
    if modality is not None and modality is not found:
        message = (
            f"the series is {found} by {tag_name('Modality')}, said was {modality}; say {found}"
        )
        raise InputError("wrong_modality", message)
    units = {MODELLING_RANGES[found].unit} | ({"Bq/ml"} if found is Modality.PET else set())
    if unit is not None and unit not in units:
        message = (
            f"a {found} series cannot be read as {unit!r}; choose from {', '.join(sorted(units))}"
        )
        raise InputError("wrong_modality", message)


def _unit_factors(slices: Sequence[Slice], unit: str) -> tuple[float, ...]:
    """Per slice, what rescaled values are multiplied by to be in the unit."""
    if unit == "SUV":
        return suv_factors(slices)
    if unit == "Bq/ml":
        check_is_activity(slices[0])
    return (1.0,) * len(slices)


def _rescales(slices: Sequence[Slice], *, vouched: bool) -> list[tuple[float, float]]:
    """Per slice (slope, intercept): 1 and 0 for MR, required of CT and PET."""
    if slices[0].modality is Modality.MRI:
        if len({item.rescale for item in slices}) > 1:
            message = (
                f"slices differ in {tag_name('RescaleSlope')}, so their stored scales do too; "
                "export the series with one slope"
            )
            raise InputError("inconsistent", message)
        return [(1.0, 0.0)] * len(slices)
    found = [item.rescale for item in slices]
    if None in found and not (vouched and slices[0].modality is Modality.CT):
        raise missing_tag("RescaleSlope", slices[found.index(None)].name)
    return [rescale or (1.0, 0.0) for rescale in found]


def _decode(
    slices: Sequence[Slice],
    rescales: Sequence[tuple[float, float]],
    factors: Sequence[float],
) -> Voxels:
    """float32 [columns, rows, slices]; drops each slice's pixel data once decoded."""
    volume = np.empty((len(slices), slices[0].rows, slices[0].columns), dtype=np.float32)
    steps = zip(volume, slices, rescales, factors, strict=True)
    for plane, item, (slope, intercept), factor in steps:
        with refused_when_garbled(item.name):
            stored = decode_stored(item.dataset, item.name)
        plane[...] = (stored.astype(np.float64) * slope + intercept) * factor
        del item.dataset.PixelData
    return volume.transpose(2, 1, 0)
