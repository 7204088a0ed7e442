"""Read a CT, MR or PET series: sorted by geometry, in HU, SUV or the stored scale."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.errors import InputError
from amir.imaging.choice import Choice
from amir.imaging.dicom.choice import plain_text, tag_name
from amir.imaging.dicom.files import found_files
from amir.imaging.dicom.geometry import affine_of, sorted_slices
from amir.imaging.dicom.padding import Padding
from amir.imaging.dicom.parse import nothing_quoted, read_whole, refused_when_garbled
from amir.imaging.dicom.pixels import decode_frames
from amir.imaging.dicom.polarity import check_polarity
from amir.imaging.dicom.series import slices_of_series
from amir.imaging.dicom.slice import Slice, missing_tag
from amir.imaging.dicom.suv import check_is_activity, suv_factors
from amir.imaging.scan import MAX_VOXELS, DicomSource, Scan, Voxels, check_voxel_count
from amir.modality import MODELLING_RANGES, Modality

_MOST_DECODERS = 8


@dataclass(frozen=True, eq=False)
class _Plane:
    """A slice, where its voxels go, and how stored values become voxels."""

    item: Slice
    target: Voxels
    rescale: tuple[float, float]
    factor: float
    padding: Padding | None


def read_series(
    source: Path | Sequence[Path],
    *,
    choice: Choice | None = None,
    modality: Modality | None = None,
    unit: str | None = None,
    max_voxels: int = MAX_VOXELS,
) -> Scan:
    """One series of a folder, a zip, a DICOMDIR, a list or a file, as voxels [column, row, slice].

    choice: of the series, and of one of its volumes, where there are several. unit: "Bq/ml" leaves
    a PET series without SUV conversion; "HU" vouches for a CT without rescale tags. MR stays in its
    stored scale. Padding is kept as stored and rescaled like all other values where that is below
    the modality's range, and is the lower end of the range else.
    """
    with nothing_quoted(), found_files(source, choice or Choice()) as found:
        slices = slices_of_series(found, choice or Choice())
        with refused_when_garbled("the series"):
            slices = sorted_slices(slices)
            modality = _said_modality(slices[0].modality, modality, unit)
            shape = (slices[0].columns, slices[0].rows, len(slices))
            check_voxel_count(shape, name="the series", limit=max_voxels)
            rescales = _rescales(slices, vouched=unit is not None)
            unit = unit or MODELLING_RANGES[modality].unit
            factors = _unit_factors(slices, unit)
            affine = affine_of(slices)
        voxels, digests = _decode(slices, rescales, factors)
        check_polarity(slices, voxels, unit)
    headers = tuple(item.header for item in slices)
    frames = tuple(item.frame for item in slices)
    return Scan(voxels, affine, modality, unit, DicomSource(headers, factors, digests, frames))


def _said_modality(found: Modality, said: Modality | None, unit: str | None) -> Modality:
    if said is not None and said is not found:
        message = f"the series is {found} by {tag_name('Modality')}, said was {said}; say {found}"
        raise InputError("wrong_modality", message)
    units = {MODELLING_RANGES[found].unit} | ({"Bq/ml"} if found is Modality.PET else set())
    if unit is not None and unit not in units:
        message = (
            f"a {found} series cannot be read as {unit!r}; choose from {', '.join(sorted(units))}"
        )
        raise InputError("wrong_modality", message)
    return found


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
    is_vouched = vouched and slices[0].modality is Modality.CT
    if None in found and not is_vouched:
        raise missing_tag("RescaleSlope", slices[found.index(None)].name)
    if slices[0].modality is Modality.CT and not is_vouched:
        _check_hounsfield(slices)
    return [rescale or (1.0, 0.0) for rescale in found]


def _check_hounsfield(slices: Sequence[Slice]) -> None:
    """RescaleType may be absent where it is HU (PS3.3 C.8.2.1); a perfusion map has another."""
    for item in slices:
        kind = str(item.header.get("RescaleType") or "HU")
        if kind != "HU":
            message = (
                f"{item.name}: {tag_name('RescaleType')} is {plain_text(kind)}, not HU; give "
                "the CT itself, or say that its unit is HU"
            )
            raise InputError("unsupported", message)


def _decode(
    slices: Sequence[Slice],
    rescales: Sequence[tuple[float, float]],
    factors: Sequence[float],
) -> tuple[Voxels, tuple[str, ...]]:
    """float32 [columns, rows, slices] and a digest per slice; one file's pixels per core at a time.

    A classic slice's digest is its file's sha256, a frame's is made from the file's and its number.
    """
    volume = np.empty((len(slices), slices[0].rows, slices[0].columns), dtype=np.float32)
    with refused_when_garbled("the series"):
        paddings = [Padding.of(item, to) for item, to in zip(slices, rescales, strict=True)]
    steps = zip(slices, volume, rescales, factors, paddings, strict=True)
    by_file = _by_file([_Plane(*step) for step in steps])
    if len(by_file) == 1:  # starting threads takes longer than some files
        digests = {by_file[0][0].item.file: _decode_file(by_file[0])}
    else:
        with ThreadPoolExecutor(min(_MOST_DECODERS, os.cpu_count() or 1)) as decoders:
            hashed = zip(by_file, decoders.map(_decode_file, by_file), strict=True)
            digests = {planes[0].item.file: digest for planes, digest in hashed}
    in_order = tuple(_slice_digest(digests[item.file], item.frame) for item in slices)
    return volume.transpose(2, 1, 0), in_order


def _by_file(planes: Sequence[_Plane]) -> list[list[_Plane]]:
    """Planes grouped by the file that holds them, in the order of its frames."""

    def place(plane: _Plane) -> tuple[int, int]:
        return id(plane.item.file), plane.item.frame or 0

    ordered = sorted(planes, key=place)
    return [list(group) for _, group in groupby(ordered, key=lambda p: id(p.item.file))]


def _decode_file(planes: Sequence[_Plane]) -> str:
    """Fill the targets of one file's planes; the file's sha256 in hexadecimal digits."""
    file = planes[0].item.file
    content = read_whole(file.open, file.name)
    with refused_when_garbled(f"{file.name}: {tag_name('PixelData')}"):
        indices = [(plane.item.frame or 1) - 1 for plane in planes]
        frames = decode_frames(content, indices, file.name)
        for plane, stored in zip(planes, frames, strict=True):
            _fill(plane, stored)
    with refused_when_garbled(file.name), file.open() as stream:
        # BinaryIO declares no readinto, which every stream of ours has.
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]


def _fill(plane: _Plane, stored: NDArray[Any]) -> None:
    """Stored values to physical ones; in double precision unless that makes no difference."""
    slope, intercept = plane.rescale
    is_exact = slope == 1 and plane.factor == 1 and intercept.is_integer()
    values: NDArray[np.floating[Any]] = stored.astype(np.float32 if is_exact else np.float64)
    if slope != 1:
        values *= slope
    values += intercept
    if plane.factor != 1:
        values *= plane.factor
    if plane.padding is not None:
        plane.padding.lower(values, stored)
    plane.target[...] = values


def _slice_digest(file_digest: str, frame: int | None) -> str:
    if frame is None:
        return file_digest
    return hashlib.sha256(f"{file_digest}:{frame}".encode()).hexdigest()
