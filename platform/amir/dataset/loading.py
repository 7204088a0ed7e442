"""Ray Data as an ordered parallel map over step numbers: the feed of one training worker."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from amir.dataset.reader import Batch, Reader
from amir.parallel import parallel_map

CROPS_PER_BLOCK = 128  # they share the cost of one task, some 5 ms
BLOCK_BYTES = 16 * 2**20  # at most, unless a step has more
BLOCKS_PER_RUN = 1000  # of Ray Data, which takes 2 ms for each before the first batch
ACTOR_CPUS = 0.25


class BlockReader:
    """Reads one training worker's crops, `steps` steps at a time, up to step end - 1."""

    def __init__(self, reader: Reader, end: int, *, steps: int, rank: int, workers: int) -> None:
        self.reader, self.end, self.steps = reader, end, steps
        self.rank, self.workers = rank, workers

    def __call__(self, start: int) -> Batch:
        """The crops of the block that begins with step `start`, stacked in order."""
        stop = min(start + self.steps, self.end)
        return self.reader.make(start, stop, rank=self.rank, workers=self.workers)


def ray_batches(
    reader: Reader, start: int, end: int, *, rank: int, workers: int, actors: int = 1
) -> Generator[Batch, None, None]:
    """The same as reader.batches, read ahead by Ray Data; close it where it is not exhausted."""
    share = reader.plan.batch // workers
    crops = min(CROPS_PER_BLOCK, BLOCK_BYTES // reader.crop_bytes)
    steps = max(1, crops // share)
    for first in range(start, end, steps * BLOCKS_PER_RUN):
        stop = min(first + steps * BLOCKS_PER_RUN, end)
        yield from parallel_map(
            partial(BlockReader, reader, stop, steps=steps, rank=rank, workers=workers),
            range(first, stop, steps),
            actors=actors,
            cpus=ACTOR_CPUS,
            ordered=True,
            batch_size=share,
            batch_format="numpy",
            prefetch_batches=2,
        )
