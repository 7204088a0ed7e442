"""Crops straight from a shard's bytes, without decoding the slices they are cut from.

Through Parquet one crop costs eight whole slices: a row group is decoded and copied at once. The
writer stores pixels plain and uncompressed, one page to a row group, so a slice's rows lie in the
file as they are, and the footer tells where. What this passes over are the pages' checksums:
whoever reads many crops compares the files' digests first, as training does.
"""

from __future__ import annotations

from io import RawIOBase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amir.dataset.schema import PIXELS, ROWS_PER_GROUP, stored_type
from amir.dataset.shard import Shard, damage_is_named

LENGTH_BYTES = 4  # before each value, little-endian: how many bytes it has


class Window(NamedTuple):
    """The part of a slice that is read, in pixels."""

    top: int
    left: int
    height: int
    width: int


class StoredPixels:
    """The slices of one shard by their row. In memory is where they lie, not what they show.

    height, width: int64, pixels; scale: float64, brings MR onto the network's range.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.path = name, folder / name
        shard = Shard(folder, name)
        facts = shard.columns(
            ["height", "width", "intensity_scale", *(f"{pixels}_dtype" for pixels in PIXELS)]
        )
        with damage_is_named(name, "shapes"):
            self.height, self.width = (np.array(facts[f], np.int64) for f in ("height", "width"))
            self.scale = np.array(facts["intensity_scale"], np.float64)
            self._types = {p: [stored_type(t) for t in facts[f"{p}_dtype"]] for p in PIXELS}
            self._places = {p: self._find(p, shard.ends(p)) for p in PIXELS}

    def read(self, row: int, window: Window) -> dict[str, NDArray[Any]]:
        """The window of a row's target and degraded slice, in their stored type, read-only."""
        with damage_is_named(self.name, f"row {row}"), self.path.open("rb", buffering=0) as file:
            return {pixels: self._cut(file, pixels, row, window) for pixels in PIXELS}

    def _cut(self, file: RawIOBase, pixels: str, row: int, window: Window) -> NDArray[Any]:
        """The window's lines are read in their full width: they lie together."""
        place, kind = int(self._places[pixels][row]), self._types[pixels][row]
        file.seek(place - LENGTH_BYTES)
        length = int.from_bytes(file.read(LENGTH_BYTES) or b"", "little")
        if length != self._size(pixels, row):
            raise ValueError(f"{pixels} has {length} bytes, not {self._size(pixels, row)}")
        line = int(self.width[row]) * kind.itemsize
        file.seek(place + window.top * line)
        lines = np.frombuffer(file.read(window.height * line) or b"", kind)
        whole = lines.reshape(window.height, int(self.width[row]))
        return whole[:, window.left : window.left + window.width]

    def _find(self, pixels: str, ends: list[int]) -> NDArray[np.int64]:
        """Where each slice begins: the values of a row group are the last bytes of its page."""
        places = np.empty(len(self.height), np.int64)
        for number, end in enumerate(ends):
            first = number * ROWS_PER_GROUP
            for row in reversed(range(first, min(first + ROWS_PER_GROUP, len(places)))):
                places[row] = end - self._size(pixels, row)
                end = int(places[row]) - LENGTH_BYTES
        return places

    def _size(self, pixels: str, row: int) -> int:
        return int(self.height[row] * self.width[row]) * self._types[pixels][row].itemsize
