"""Ray Data as an ordered parallel map over step numbers: the feed of one training worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from amir.dataset.plan import Plan
from amir.dataset.reader import Batch, Reader

STEPS_PER_BLOCK = 16  # neighbouring steps share row groups and the cost of one task
HORIZON = 20_000  # steps per Ray dataset: about 2 ms go into each block before the first batch
ACTOR_CPUS = 0.25


class CropReader:
    """A Ray Data actor: numbers of blocks in, crops out."""

    def __init__(self, folder: Path, plan: Plan, options: dict[str, Any], span: dict[str, int]):
        self.reader = Reader(folder, plan, **options)
        self.span = span

    def __call__(self, blocks: dict[str, NDArray[np.int64]]) -> Iterator[Batch]:
        for block in blocks["id"].tolist():
            start = self.span["start"] + block * STEPS_PER_BLOCK
            end = min(start + STEPS_PER_BLOCK, self.span["end"])
            yield self.reader.make(start, end, rank=self.span["rank"], workers=self.span["workers"])


def ray_batches(
    folder: Path,
    plan: Plan,
    *,
    start: int,
    end: int,
    rank: int,
    workers: int,
    actors: int = 1,
    crop: int,
    flips: bool,
) -> Iterator[Batch]:
    """One worker's batches of steps start..end-1, in order, read ahead by Ray Data."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True  # without it batches arrive as they finish
    context.enable_progress_bars = False
    while start < end:
        stop = min(start + HORIZON, end)
        span = {"start": start, "end": stop, "rank": rank, "workers": workers}
        blocks = -(-(stop - start) // STEPS_PER_BLOCK)
        # Blocks that lie ready need no read task, so the feed takes no CPU beside its actors.
        numbers = ray.data.from_arrow([pa.table({"id": [block]}) for block in range(blocks)])
        dataset = numbers.map_batches(
            CropReader,
            batch_size=None,
            concurrency=actors,
            num_cpus=ACTOR_CPUS,
            fn_constructor_args=(folder, plan, {"crop": crop, "flips": flips}, span),
        )
        yield from dataset.iter_batches(
            batch_size=plan.batch // workers, batch_format="numpy", prefetch_batches=2
        )
        start = stop
