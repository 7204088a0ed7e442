"""Series whose headers are in order one by one and wrong together, and what refuses each."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from benchmarks.mutation.packed import zipped

Slices = list[Dataset]


@dataclass(frozen=True)
class WrongSeries:
    """A zipped series, the code that refuses it and the tag that the refusal names."""

    content: bytes
    code: str
    tag: str


def wrong_series(files: list[bytes]) -> dict[str, WrongSeries]:
    """By what is wrong with it; files: a sound CT series of at least four slices."""
    return {name: _made(files, *fault) for name, fault in _FAULTS.items()}


def _made(
    files: list[bytes], change: Callable[[Slices], Slices], code: str, tag: str
) -> WrongSeries:
    slices = change([pydicom.dcmread(io.BytesIO(content)) for content in files])
    members = [(f"{number:04d}.dcm", _bytes(item)) for number, item in enumerate(slices)]
    return WrongSeries(zipped(members), code, tag)


def _bytes(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def _each(slices: Slices, **values: object) -> Slices:
    for item in slices:
        for keyword, value in values.items():
            setattr(item, keyword, value)
    return slices


def _without(slices: Slices, keyword: str) -> Slices:
    for item in slices:
        delattr(item, keyword)
    return slices


def _two_series(slices: Slices) -> Slices:
    return slices[:2] + _each(slices[2:], SeriesInstanceUID=generate_uid())


def _twice_at_one_place(slices: Slices) -> Slices:
    slices[1].ImagePositionPatient = slices[0].ImagePositionPatient
    return slices


def _leaning(slices: Slices) -> Slices:
    """As a gantry tilt leaves it: each slice a millimetre further to the front."""
    for number, item in enumerate(slices):
        x, y, z = item.ImagePositionPatient
        item.ImagePositionPatient = [x, y + number, z]
    return slices


def _of_two_sizes(slices: Slices) -> Slices:
    image = slices[0].pixel_array[:-2]
    slices[0].Rows, slices[0].PixelData = len(image), image.tobytes()
    return slices


def _turned(slices: Slices) -> Slices:
    slices[0].ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    return slices


def _of_two_spacings(slices: Slices) -> Slices:
    slices[0].PixelSpacing = [1.5, 1.5]
    return slices


def _halfway(slices: Slices) -> Slices:
    first, second = (np.array(item.ImagePositionPatient) for item in slices[:2])
    slices[0].ImagePositionPatient = list(first + (second - first) * 0.5)
    return slices


_FAULTS: dict[str, tuple[Callable[[Slices], Slices], str, str]] = {
    "ultrasound": (lambda s: _each(s, Modality="US"), "wrong_modality", "(0008,0060)"),
    "no modality": (lambda s: _without(s, "Modality"), "missing_tag", "(0008,0060)"),
    "report": (
        lambda s: _each(s, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11"),
        "unsupported",
        "(0008,0016)",
    ),
    "two series": (_two_series, "mixed_series", "(0020,000E)"),
    "a slice missing": (lambda s: s[:1] + s[2:], "missing_slice", "(0020,0032)"),
    "a slice halfway": (_halfway, "missing_slice", "(0020,0032)"),
    "two slices at one place": (_twice_at_one_place, "duplicate_position", "(0020,0032)"),
    "tilt": (_leaning, "unsupported", "(0018,1120)"),
    "two sizes": (_of_two_sizes, "inconsistent", "(0028,0010)"),
    "two spacings": (_of_two_spacings, "inconsistent", "(0028,0030)"),
    "two orientations": (_turned, "inconsistent", "(0020,0037)"),
    "no position": (
        lambda s: _without(s, "ImagePositionPatient"),
        "missing_tag",
        "(0020,0032)",
    ),
    "no rescale": (
        lambda s: _without(_without(s, "RescaleSlope"), "RescaleIntercept"),
        "missing_tag",
        "(0028,1053)",
    ),
    "colour": (
        lambda s: _each(s, PhotometricInterpretation="RGB"),
        "unsupported",
        "(0028,0004)",
    ),
}
