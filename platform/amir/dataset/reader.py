"""Shards to crops: the slots of a plan become normalised arrays, for an actor or a plain loop."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.dataset.cohort import Split
from amir.dataset.manifest import Manifest
from amir.dataset.plan import Index, Plan
from amir.dataset.schema import PIXELS
from amir.dataset.shard import Shard
from amir.dataset.stored_pixels import StoredPixels, Window
from amir.errors import InputError
from amir.modality import Modality, normalise

Batch = dict[str, NDArray[Any]]


def build_index(manifest: Manifest, split: Split, tasks: tuple[Modality, ...]) -> Index:
    """The slices of a split, in shard order. A task without slices is an error that names it."""
    for task in tasks:
        if not manifest.slices(split, task):
            raise InputError(
                "invalid_dataset",
                f"the dataset has no {task} slices in its {split} split; choose others with "
                "--data.tasks or prepare the dataset with such patients",
            )
    shards = [shard for shard in manifest.of(split) if shard.modality in tasks]
    counts = [shard.rows for shard in shards]
    return Index(
        files=tuple(shard.file for shard in shards),
        file=np.repeat(np.arange(len(shards), dtype=np.int64), counts),
        row=np.concatenate([np.arange(n, dtype=np.int64) for n in counts]),
        modality=tuple(s.modality for s in shards for _ in range(s.rows)),
    )


class Reader:
    """Reads crops of [crop, crop] pixels from a dataset folder; keeps no pixels in memory."""

    def __init__(self, folder: Path, plan: Plan, *, crop: int, flips: bool = False) -> None:
        self.folder, self.plan, self.crop, self.flips = folder, plan, crop, flips
        self._shards: dict[int, StoredPixels] = {}

    @property
    def crop_bytes(self) -> int:
        """A crop's share of a batch: two float32 images and a mask."""
        return 9 * self.crop**2

    def batches(
        self, start: int, end: int, *, rank: int = 0, workers: int = 1
    ) -> Generator[Batch, None, None]:
        """One batch a step, steps start..end-1."""
        for step in range(start, end):
            yield self.make(step, step + 1, rank=rank, workers=workers)

    def make(self, start: int, end: int, *, rank: int = 0, workers: int = 1) -> Batch:
        """The crops of steps start..end-1 that one worker takes, stacked in order.

        degraded, target: float32 [n, crop, crop] in 0..1. valid: bool, false where a slice smaller
        than the crop was padded.
        step, row: int64 [n]; row is the slice's number in the plan's index. modality: str [n].
        """
        slots = self.plan.slots(start, end, rank=rank, workers=workers)
        n, size = len(slots.row), self.crop
        batch: Batch = {
            "degraded": np.zeros((n, size, size), np.float32),
            "target": np.zeros((n, size, size), np.float32),
            "valid": np.zeros((n, size, size), bool),
            "step": slots.step,
            "row": slots.row,
            "modality": np.array([str(self.plan.index.modality[row]) for row in slots.row]),
        }
        for k in range(n):
            self._fill(batch, k, int(slots.row[k]), int(slots.draw[k]))
        return batch

    def names(self, step: int) -> list[str]:
        """The slices of a step over all workers, in order: PATIENT/SCAN/NUMBER (MODALITY)."""
        rows = self.plan.slots(step, step + 1).row
        return [self._name(int(row)) for row in rows]

    def _name(self, row: int) -> str:
        index, place = self.plan.index, int(self.plan.index.row[row])
        shard = Shard(self.folder, index.files[int(index.file[row])])
        facts = shard.columns(["patient_id", "scan_id", "slice_index"])
        return "/".join(str(facts[name][place]) for name in facts) + f" ({index.modality[row]})"

    def _fill(self, batch: Batch, k: int, row: int, draw: int) -> None:
        shard, place = self._shard(row), int(self.plan.index.row[row])
        height, width, size = int(shard.height[place]), int(shard.width[place]), self.crop
        top, left = draw % max(1, height - size + 1), (draw >> 20) % max(1, width - size + 1)
        turn = (draw >> 40) % 8 if self.flips else 0
        h, w = min(height, size), min(width, size)
        crops = shard.read(place, Window(top, left, h, w))
        for name, crop in crops.items():
            scaled = crop.astype(np.float32) * np.float32(shard.scale[place])
            batch[name][k, :h, :w] = normalise(scaled, self.plan.index.modality[row])
        batch["valid"][k, :h, :w] = True
        if turn:
            for name in (*PIXELS, "valid"):
                batch[name][k] = turned(batch[name][k], turn).copy()

    def _shard(self, row: int) -> StoredPixels:
        file = int(self.plan.index.file[row])
        if file not in self._shards:
            self._shards[file] = StoredPixels(self.folder, self.plan.index.files[file])
        return self._shards[file]


def turned(image: NDArray[Any], turn: int) -> NDArray[Any]:
    """One of the square's eight symmetries: turn & 3 quarter turns, then a flip if turn & 4."""
    image = np.rot90(image, turn & 3)
    return image[:, ::-1] if turn & 4 else image
