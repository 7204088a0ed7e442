"""Which part of a run is trained on crops of which size."""

from __future__ import annotations

from collections.abc import Iterator

from amir.config import TrainSettings


def phases(settings: TrainSettings, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """(crop, first step, step after the last) of what is left from step `start` on."""
    data, steps = settings.data, settings.steps
    turn = steps if data.late_crop is None else min(data.late_crop_from, steps)
    if start < turn:
        yield data.crop, start, turn
    if data.late_crop is not None and turn < steps:
        yield data.late_crop, max(start, turn), steps
