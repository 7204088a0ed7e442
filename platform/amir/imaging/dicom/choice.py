"""Which of several series is meant, and what a refusal may say of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.datadict import tag_for_keyword
from pydicom.tag import Tag

from amir.errors import InputError
from amir.imaging.choice import SEPARATOR, Choice, series_label

_MOST_LISTED = 20


@dataclass(frozen=True)
class SeriesSummary:
    """What a refusal may say of a series: nothing that names a patient."""

    uid: str
    modality: str
    number: str
    images: int

    def __str__(self) -> str:
        number = f"series {self.number}, " if self.number else ""
        return f"{series_label(self.uid)} ({self.modality}, {number}{self.images} images)"


def choose_series(found: Sequence[SeriesSummary], choice: Choice) -> str:
    """The UID of the series that is meant, or of the only one."""
    meant = [item for item in found if choice.means(item.uid)] if choice.series else list(found)
    if len(meant) == 1:
        return meant[0].uid
    listed = ", ".join(map(str, found[:_MOST_LISTED]))
    more = f" and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
    tag = tag_name("SeriesInstanceUID")
    among = f"the files belong to {len(found)} series by {tag}: {listed}{more}"
    if choice.series:
        message = f"{SEPARATOR}... names {len(meant)} series, not one; {among}"
    else:
        label = series_label(found[0].uid)
        message = f"{among}; choose one, {how_to_choose(label)}"
    raise InputError("mixed_series", message)


def how_to_choose(choice: str) -> str:
    """choice: one that would do."""
    return f"by adding it to a path, as in {SEPARATOR}{choice}, or to a request: choose={choice}"


def tag_name(keyword: str) -> str:
    """For example "RescaleSlope (0028,1053)"."""
    tag = tag_for_keyword(keyword)
    return f"{keyword} {Tag(tag)}" if tag is not None else keyword


def plain_text(value: object, *, longest: int = 16) -> str:
    """A code as a message may quote it; whatever is no short code, and so may be a name, is not."""
    text = str(value)
    words = text.replace("_", "").replace("-", "").replace(".", "").replace(" ", "")
    return text if words.isalnum() and len(text) <= longest else "unknown"
