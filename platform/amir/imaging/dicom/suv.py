"""Activity concentration to SUV body weight.

SUV = c * weight / (dose * 2^(-t / half life)) with c in Bq/ml, weight in g, dose in Bq, and t from
the injection to the time that the image is decay corrected to: DICOM PS3.3 C.8.9.1 and the
vendor-neutral formula of QIBA's FDG-PET profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, DT, TM

from amir.errors import InputError
from amir.imaging.dicom.choice import plain_text, tag_name
from amir.imaging.dicom.slice import Slice, missing_tag, required

_DAY = timedelta(days=1)


def suv_factors(slices: Sequence[Slice]) -> tuple[float, ...]:
    """Per slice, SUV body weight per unit of the rescaled values; 1 where they are SUV already."""
    first = slices[0]
    units = str(required(first.header, "Units", first.name))
    if units == "GML":
        _check_body_weight(first)
        return (1.0,) * len(slices)
    if units != "BQML":
        message = (
            f"{first.name}: {tag_name('Units')} is {plain_text(units)}; only BQML and GML give SUV"
        )
        raise InputError("unsupported", message)
    earliest = min(_acquired(item) for item in slices)
    return tuple(_factor(item, earliest) for item in slices)


def check_is_activity(item: Slice) -> None:
    """Refuse to call values Bq/ml that the file says are something else; it may say nothing."""
    units = str(item.header.get("Units") or "BQML")
    if units != "BQML":
        message = (
            f"{item.name}: {tag_name('Units')} is {plain_text(units)}, not BQML; do not say Bq/ml"
        )
        raise InputError("unsupported", message)


def _check_body_weight(item: Slice) -> None:
    kind = item.header.get("SUVType") or "BW"
    if kind != "BW":
        message = (
            f"{item.name}: {tag_name('SUVType')} is {plain_text(kind)}; only body weight is read"
        )
        raise InputError("unsupported", message)


def _factor(item: Slice, earliest: datetime) -> float:
    dose = _dose_item(item)
    activity = _positive(dose, "RadionuclideTotalDose", item.name)
    weight_g = 1000.0 * _positive(item.header, "PatientWeight", item.name)
    correction = str(required(item.header, "DecayCorrection", item.name))
    if correction == "ADMIN":
        return weight_g / activity
    half_life = _positive(dose, "RadionuclideHalfLife", item.name)
    elapsed = _since_injection(item, dose, _decay_reference(item, correction, earliest))
    return float(weight_g / (activity * 2.0 ** (-elapsed.total_seconds() / half_life)))


def _dose_item(item: Slice) -> Dataset:
    sequence = required(item.header, "RadiopharmaceuticalInformationSequence", item.name)
    if len(sequence) != 1:
        raise missing_tag("RadiopharmaceuticalInformationSequence", item.name)
    dose: Dataset = sequence[0]
    return dose


def _positive(dataset: Dataset, keyword: str, name: str) -> float:
    value = float(required(dataset, keyword, name))
    if not np.isfinite(value) or value <= 0:
        raise missing_tag(keyword, name)
    return value


def _decay_reference(item: Slice, correction: str, earliest: datetime) -> datetime:
    if correction == "NONE":
        return _acquired(item)
    if correction != "START":
        message = (
            f"{item.name}: {tag_name('DecayCorrection')} is {plain_text(correction)}; "
            "only START, ADMIN and NONE are read"
        )
        raise InputError("unsupported", message)
    started = _moment(item, "SeriesDate", "SeriesTime")
    # A workstation that derived the series stamps its own, later time on it.
    return min(started, earliest)


def _acquired(item: Slice) -> datetime:
    return _moment(item, "AcquisitionDate", "AcquisitionTime")


def _moment(item: Slice, date_keyword: str, time_keyword: str) -> datetime:
    day = DA(str(required(item.header, date_keyword, item.name)))
    return _at(day, required(item.header, time_keyword, item.name))


def _at(day: Any, time: Any) -> datetime:
    clock = TM(str(time))
    return datetime.combine(date(day.year, day.month, day.day), clock.replace(tzinfo=None))


def _since_injection(item: Slice, dose: Dataset, reference: datetime) -> timedelta:
    stamp = dose.get("RadiopharmaceuticalStartDateTime")
    injected: datetime
    if stamp:
        injected = DT(str(stamp)).replace(tzinfo=None)
        keyword = "RadiopharmaceuticalStartDateTime"
    else:
        keyword = "RadiopharmaceuticalStartTime"
        injected = _at(reference, required(dose, keyword, item.name))
        injected -= _DAY if injected > reference else timedelta(0)
    elapsed = reference - injected
    if not timedelta(0) <= elapsed <= _DAY:
        message = (
            f"{item.name}: {tag_name(keyword)} is not within a day before the scan; correct it"
        )
        raise InputError("missing_tag", message)
    return elapsed
