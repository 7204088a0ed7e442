"""A training run in this process and without Ray, for what is small and many; else the same run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import torch

from amir.allocator import give_back_freed_memory, keep_freed_memory
from amir.config import TrainSettings
from amir.dataset.reader import Batch, Reader
from amir.training.attempt import attempt
from amir.training.ray_trainer import check
from amir.training.run_folder import RunFolder
from amir.training.worker import build_state, torch_threads, work, worker_task


def train_alone(
    settings: TrainSettings,
    *,
    begin: Callable[[], Any] = lambda: None,
    report: Callable[[dict[str, Any]], Any] = lambda metrics: None,
    tags: Mapping[str, str] | None = None,
    patience: float = 0,
) -> RunFolder:
    """Train as one worker would, on the GPU that this process has if the workers are to have one;
    an unfinished run of the same name goes on.

    begin: called before the first step. report: called after each checkpoint. Either may raise
    StoppedEarlyError. tags, patience: as of `attempt`. The shards are taken as they are:
    check_shards before the first of many runs.
    """
    manifest = check(settings)
    keep_freed_memory()
    torch.set_num_threads(torch_threads(settings.workers))
    device = torch.device("cuda" if settings.workers.gpu else "cpu")

    first = iter([begin])  # a feed for each size of crops, but one beginning

    def feed(reader: Reader, start: int, end: int) -> Generator[Batch, None, None]:
        for announce in first:
            announce()
        yield from reader.batches(start, end)

    try:
        with attempt(settings, manifest, tags=tags, patience=patience) as (folder, record):
            task = worker_task(settings, manifest, folder, record)
            work(task, build_state(settings, device), feed=feed, device=device, report=report)
    finally:
        give_back_freed_memory()
    return folder
