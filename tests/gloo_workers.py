"""Data-parallel workers as processes of this machine, for tests of what they compute together."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

SECONDS = 90


def on_workers(work: Callable[[int, int], Any], workers: int, folder: Path) -> list[Any]:
    """What work(rank, workers) returns on each worker of a gloo group, by rank; made of tensors.

    work: a function of a module, which the processes import.
    """
    context = multiprocessing.spawn(_worker, (work, workers, str(folder)), workers, join=False)
    deadline = time.monotonic() + SECONDS
    try:
        while not context.join(timeout=1, grace_period=5):
            assert time.monotonic() < deadline, "the workers are stuck"
    finally:
        for process in context.processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in range(workers)]


def _worker(rank: int, work: Callable[[int, int], Any], workers: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=workers,
        timeout=timedelta(seconds=60),
    )
    torch.save(work(rank, workers), Path(folder) / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
