"""PyTorch DataLoaders over the same shards, to compare the platform's feed with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader

from amir.dataset.manifest import read_manifest
from amir.dataset.reader import Reader, build_index
from amir.dataset.schema import PIXELS, ROWS_PER_GROUP, unpack
from amir.modality import Modality, normalise

STEPS_PER_ITEM = 4
GROUPS_REMEMBERED = 32
FACTS = ["height", "width", "intensity_scale", "target_dtype", "degraded_dtype"]


class Blocks:
    """The platform's own reader behind a DataLoader, some steps an item."""

    def __init__(self, reader: Reader, steps: int) -> None:
        self.reader, self.steps = reader, steps

    def __len__(self) -> int:
        return -(-self.steps // STEPS_PER_ITEM)

    def __getitem__(self, k: int) -> dict[str, torch.Tensor]:
        first = k * STEPS_PER_ITEM
        block = self.reader.make(first, first + STEPS_PER_ITEM)
        return {name: torch.from_numpy(block[name]) for name in (*PIXELS, "valid")}


def loaded_blocks(reader: Reader, steps: int, workers: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches in the order of the platform's feed."""
    batch = reader.plan.batch
    for block in DataLoader(Blocks(reader, steps), batch_size=None, num_workers=workers):
        for first in range(0, STEPS_PER_ITEM * batch, batch):
            yield {name: crops[first : first + batch] for name, crops in block.items()}


class Crops:
    """Crops as one would read them without the platform: row groups through pyarrow, remembered.

    At its best: from mapped files, without checksums, without copies, cut before normalising.
    """

    def __init__(self, folder: Path, crop: int) -> None:
        self.index = build_index(read_manifest(folder), "train", tuple(Modality))
        self.folder, self.size = folder, crop
        self.files: dict[int, pq.ParquetFile] = {}
        self.groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, k: int) -> list[torch.Tensor]:
        group, row = self.group(k), int(self.index.row[k]) % ROWS_PER_GROUP
        facts = {name: group.column(name)[row].as_py() for name in FACTS}
        height, width, size = facts["height"], facts["width"], self.size
        top, left = (int(torch.randint(max(1, n - size + 1), ())) for n in (height, width))
        h, w = min(height, size), min(width, size)
        valid = torch.zeros(size, size, dtype=torch.bool)
        valid[:h, :w] = True
        pair = []
        for name in PIXELS:
            data = group.column(name)[row].as_buffer()
            whole = unpack(data, facts[f"{name}_dtype"], height, width)
            cut = whole[top : top + h, left : left + w].astype(np.float32)
            crop = torch.zeros(size, size)
            cut = normalise(cut * np.float32(facts["intensity_scale"]), self.index.modality[k])
            crop[:h, :w] = torch.from_numpy(cut)
            pair.append(crop)
        return [*pair, valid]

    def group(self, k: int) -> pa.Table:
        file, number = int(self.index.file[k]), int(self.index.row[k]) // ROWS_PER_GROUP
        if file not in self.files:
            path = self.folder / self.index.files[file]
            self.files[file] = pq.ParquetFile(path, memory_map=True)
        if (file, number) not in self.groups:
            opened = self.files[file]
            self.groups[file, number] = opened.read_row_group(number, columns=[*FACTS, *PIXELS])
            if len(self.groups) > GROUPS_REMEMBERED:
                self.groups.popitem(last=False)
        return self.groups[file, number]


def loaded(folder: Path, workers: int, *, batch: int, crop: int) -> Iterator[list[torch.Tensor]]:
    """Shuffled batches without end."""
    loader = DataLoader(
        Crops(folder, crop),
        batch,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
    )
    while True:
        yield from loader
