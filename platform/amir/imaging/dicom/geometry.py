"""Order slices along their normal and prove that they form one even volume, or refuse them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from amir.errors import InputError
from amir.imaging.choice import series_label
from amir.imaging.dicom.choice import tag_name
from amir.imaging.dicom.slice import Slice

# Neighbours closer than this lie at the same place.
_SAME_PLACE_MM = 0.01

# Scanners round positions, and whole-body PET joins its beds with steps 3 % shorter (3.19 for
# 3.27 mm seen); a missing slice is a step of twice the others'.
_STEP_TOLERANCE = 0.05

# Sideways drift over the stack, as a part of its length (0.3 degrees) or of rounded positions.
_DRIFT_TOLERANCE = 0.005
_DRIFT_TOLERANCE_MM = 0.1

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def sorted_slices(slices: Sequence[Slice]) -> list[Slice]:
    """The slices of one even volume, along their normal. Two slices are even at any distance."""
    _check_one_series(slices)
    _check_alike(slices)
    normal = slices[0].normal
    ordered = sorted(slices, key=lambda item: float(item.position @ normal))
    _check_steps(ordered)
    _check_tilt(ordered)
    return ordered


def affine_of(ordered: Sequence[Slice]) -> NDArray[np.float64]:
    """float64 [4, 4]: (column, row, slice) of sorted slices to RAS mm, by their mean step."""
    first, last = ordered[0], ordered[-1]
    step = first.normal * first.thickness_mm if len(ordered) == 1 else None
    if step is None:
        step = (last.position - first.position) / (len(ordered) - 1)
    row_mm, column_mm = first.spacing_mm
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[0] * column_mm
    affine[:3, 1] = first.orientation[1] * row_mm
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    return _LPS_TO_RAS @ affine


def _check_one_series(slices: Sequence[Slice]) -> None:
    series = sorted({item.series_uid for item in slices})
    if len(series) > 1:
        labels = ", ".join(series_label(uid) for uid in series[:5])
        message = (
            f"the files belong to {len(series)} series by {tag_name('SeriesInstanceUID')} "
            f"({labels}); give one at a time"
        )
        raise InputError("mixed_series", message)


def _check_alike(slices: Sequence[Slice]) -> None:
    traits: tuple[tuple[str, Callable[[Slice], object]], ...] = (
        ("Modality", lambda item: item.modality),
        ("Rows", lambda item: item.rows),
        ("Columns", lambda item: item.columns),
        ("PixelSpacing", lambda item: tuple(np.round(item.spacing_mm, 3))),
    )
    for keyword, trait in traits:
        if len({trait(item) for item in slices}) > 1:
            raise _inconsistent(slices, keyword)
    if max(np.abs(s.orientation - slices[0].orientation).max() for s in slices) > 1e-3:
        raise _inconsistent(slices, "ImageOrientationPatient")


def _inconsistent(slices: Sequence[Slice], keyword: str) -> InputError:
    message = (
        f"series {series_label(slices[0].series_uid)}: slices differ in {tag_name(keyword)}; "
        "restore the parts separately"
    )
    return InputError("inconsistent", message)


def _check_steps(ordered: Sequence[Slice]) -> None:
    along = np.array([item.position @ ordered[0].normal for item in ordered])
    steps = np.diff(along)
    if not steps.size:
        return
    if steps.min() < _SAME_PLACE_MM:
        index = int(steps.argmin())
        raise _duplicate_position(ordered[index], ordered[index + 1])
    usual = float(np.median(steps))
    if np.abs(steps - usual).max() > _STEP_TOLERANCE * usual:
        index = int(np.abs(steps - usual).argmax())
        raise _missing_slice(ordered[index], ordered[index + 1], float(steps[index]), usual)


def _duplicate_position(one: Slice, other: Slice) -> InputError:
    message = (
        f"series {series_label(one.series_uid)}: {one.name} and {other.name} have the same "
        f"{tag_name('ImagePositionPatient')}; give one echo, time or copy at a time"
    )
    return InputError("duplicate_position", message)


def _missing_slice(one: Slice, other: Slice, step_mm: float, usual_mm: float) -> InputError:
    message = (
        f"series {series_label(one.series_uid)}: {step_mm:.3f} mm between {one.name} and "
        f"{other.name} by {tag_name('ImagePositionPatient')}, {usual_mm:.3f} mm elsewhere; "
        "complete the series or split it there"
    )
    return InputError("missing_slice", message)


def _check_tilt(ordered: Sequence[Slice]) -> None:
    first, last = ordered[0], ordered[-1]
    across = last.position - first.position
    length = float(across @ first.normal)
    drift = float(np.linalg.norm(across - length * first.normal))
    if drift > max(_DRIFT_TOLERANCE_MM, _DRIFT_TOLERANCE * length):
        angle = np.degrees(np.arctan2(drift, length))
        message = (
            f"series {series_label(first.series_uid)}: the stack leans by {angle:.1f} degrees "
            f"against its slices ({tag_name('GantryDetectorTilt')}); resample it upright first"
        )
        raise InputError("unsupported", message)
