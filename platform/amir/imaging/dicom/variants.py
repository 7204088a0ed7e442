"""A series that holds each place several times, such as once per echo: one of its volumes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from pydicom.dataset import Dataset

from amir.errors import InputError
from amir.imaging.choice import SEPARATOR, Choice, series_label
from amir.imaging.dicom.choice import how_to_choose, plain_text, tag_name
from amir.imaging.dicom.slice import Slice

_MOST_LISTED = 12


def _stated(keyword: str, header: Dataset) -> str:
    value = header.get(keyword)
    if value is None or value == "":
        return "none"
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return plain_text(value)


def _image_type(header: Dataset) -> str:
    """ImageType from its third value on, such as M-ND: magnitude, water, a derived map."""
    value = header.get("ImageType") or []
    values = [value] if isinstance(value, str) else list(value)
    return plain_text("-".join(str(part) for part in values[2:]) or "none", longest=64)


# What can tell volumes of one series apart: name in a choice, tag, and the value in a header.
_KEYS: dict[str, tuple[str, Callable[[Dataset], str]]] = {
    name: (keyword, partial(_stated, keyword))
    for name, keyword in {
        "stack": "StackID",
        "echo": "EchoTime",
        "time": "TemporalPositionIdentifier",
        "frame": "FrameReferenceTime",
        "phase": "NominalPercentageOfCardiacPhase",
        "trigger": "TriggerTime",
        "b": "DiffusionBValue",
        "inversion": "InversionTime",
        "acquisition": "AcquisitionNumber",
        "component": "ComplexImageComponent",
    }.items()
} | {"type": ("ImageType", _image_type)}


def one_volume(slices: Sequence[Slice], choice: Choice) -> list[Slice]:
    """The slices that the choice leaves, which must not be several stacks or several images of a
    place; else InputError lists what tells them apart.
    """
    unknown = sorted(set(choice.variant) - set(_KEYS))
    if unknown:
        message = f"{SEPARATOR} knows no such key; choose from {', '.join(_KEYS)}"
        raise InputError("invalid_setting", message)
    left = [item for item in slices if _matches(item, choice)]
    if not left:
        raise _unchosen(slices, list(choice.variant), "no image is", "missing_file")
    if len(_values(left, "stack")) > 1:
        raise _unchosen(left, ["stack"], "the images form several stacks", "mixed_series")
    if _is_unique(left):
        return left
    telling = _telling_keys(left)
    if telling:
        raise _unchosen(left, telling, "several images have the same place", "duplicate_position")
    return left  # whose places `geometry` refuses by name


def _matches(item: Slice, choice: Choice) -> bool:
    return all(_value(item, key) == text for key, text in choice.variant.items())


def _value(item: Slice, key: str) -> str:
    return _KEYS[key][1](item.header)


def _values(slices: Sequence[Slice], key: str) -> set[str]:
    return {_value(item, key) for item in slices}


def _is_unique(slices: Sequence[Slice]) -> bool:
    """Whether no two lie at the same place, to a hundredth of a millimetre."""
    places = {
        (*np.rint(item.position * 100), *np.rint(item.orientation.ravel() * 100)) for item in slices
    }
    return len(places) == len(slices)


def _telling_keys(slices: Sequence[Slice]) -> list[str]:
    """One key if one is enough to tell volumes apart, else all that differ."""
    differing = [key for key in _KEYS if len(_values(slices, key)) > 1]
    for key in differing:
        groups = defaultdict(list)
        for item in slices:
            groups[_value(item, key)].append(item)
        if len(groups) < len(slices) and all(map(_is_unique, groups.values())):
            return [key]
    return differing


def _unchosen(slices: Sequence[Slice], keys: Sequence[str], finding: str, code: str) -> InputError:
    options = "; ".join(f"{_KEYS[key][0]}: {_listed(slices, key)}" for key in keys)
    example = f"{keys[0]}={min(_values(slices, keys[0]))}"
    tags = ", ".join(tag_name(_KEYS[key][0]) for key in keys)
    message = (
        f"series {series_label(slices[0].series_uid)}: {finding} by {tags} ({options}); choose "
        f"one, {how_to_choose(example)}"
    )
    return InputError(code, message)


def _listed(slices: Sequence[Slice], key: str) -> str:
    values = sorted(_values(slices, key))
    more = f" and {len(values) - _MOST_LISTED} more" if len(values) > _MOST_LISTED else ""
    return ", ".join(f"{key}={value}" for value in values[:_MOST_LISTED]) + more
