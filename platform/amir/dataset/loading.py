"""Ray Data as an ordered parallel map over step numbers: the feed of one training worker."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from amir.dataset.reader import Batch, Reader
from amir.parallel import parallel_map

STEPS_PER_BLOCK = 16  # neighbouring steps share row groups and the cost of one task
HORIZON = 20_000  # steps per Ray dataset: about 2 ms go into each block before the first batch
ACTOR_CPUS = 0.25


class BlockReader:
    """Reads one training worker's crops, a block of steps at a time, up to step end - 1."""

    def __init__(self, reader: Reader, end: int, *, rank: int, workers: int) -> None:
        self.reader, self.end, self.rank, self.workers = reader, end, rank, workers

    def __call__(self, start: int) -> Batch:
        """The crops of the block that begins with step `start`, stacked in order."""
        stop = min(start + STEPS_PER_BLOCK, self.end)
        return self.reader.make(start, stop, rank=self.rank, workers=self.workers)


def ray_batches(
    reader: Reader, start: int, end: int, *, rank: int, workers: int, actors: int = 1
) -> Iterator[Batch]:
    """The same as reader.batches, read ahead by Ray Data."""
    for first in range(start, end, HORIZON):
        stop = min(first + HORIZON, end)
        yield from parallel_map(
            partial(BlockReader, reader, stop, rank=rank, workers=workers),
            range(first, stop, STEPS_PER_BLOCK),
            actors=actors,
            cpus=ACTOR_CPUS,
            ordered=True,
            batch_size=reader.plan.batch // workers,
            batch_format="numpy",
            prefetch_batches=2,
        )
