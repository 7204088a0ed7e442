"""A run's checkpoints: written at once or beside the training, kept or removed, taken up again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist

from amir import checkpoint, durable
from amir.tracking import WORKERS
from amir.training.background import Background
from amir.training.run_folder import RunFolder
from amir.training.state import Snapshot, TrainingState
from amir.training.validation import Scores, mean_gain


def save_checkpoint(
    state: TrainingState,
    folder: RunFolder,
    *,
    settings: Mapping[str, Any],
    scores: Scores,
    workers: int,
    keep: int,
    background: Background | None = None,
) -> None:
    """Save the state in its run's folder, mark it if it is the best, remove what is not kept.

    background: writes a copy while the training goes on, once the checkpoint before is written.
    """
    gain = mean_gain(scores)
    is_best = bool(scores) and (state.best_gain is None or gain > state.best_gain)
    if is_best:
        state.best_step, state.best_gain = state.step, gain
    named = {str(task): score._asdict() for task, score in scores.items()}
    snapshot = state.snapshot(workers=workers, copied=background is not None)
    write = partial(_write, folder.checkpoints, snapshot, settings, named, keep)
    if background is None:
        write()
    else:
        background.start(write)


def take_up(state: TrainingState, folder: RunFolder, *, rank: int, workers: int) -> None:
    """Go on from the newest sound checkpoint, if there is one, and forget what came after it.

    Every worker reads the same folder before any writes to it.
    """
    saved = checkpoint.latest(folder.checkpoints)
    before = workers if saved is None else state.resume(saved)
    _check_all_stand_at(state.step, workers)
    if state.best_step not in checkpoint.saved_steps(folder.checkpoints):
        state.best_step = state.best_gain = None  # removed for a better one that is damaged now
    if rank == 0:
        durable.remove_unfinished(folder.checkpoints)
        _mark_best(folder.checkpoints, state.best_step)
        again = folder.forget_after(state.step)
        if saved is not None or again:
            folder.append([_resumed(state.step, workers, before, again)])


def prune(folder: Path, *, keep: int, best: int | None) -> None:
    """Remove all checkpoints but the latest `keep` and the best."""
    for step in checkpoint.saved_steps(folder)[:-keep]:
        if step != best:
            shutil.rmtree(folder / str(step))


def _write(
    folder: Path,
    snapshot: Snapshot,
    settings: Mapping[str, Any],
    scores: Mapping[str, Any],
    keep: int,
) -> None:
    """Write folder/STEP, and put right what stands beside it."""
    best = snapshot.values["best_step"]
    checkpoint.save(
        folder / str(snapshot.values["step"]),
        weights=snapshot.weights,
        settings=settings,
        scores=scores,
        state=(snapshot.tensors, snapshot.values),
    )
    _mark_best(folder, best)
    prune(folder, keep=keep, best=best)


def _resumed(step: int, workers: int, before: int, again: int) -> dict[str, Any]:
    """A line of metrics.jsonl. again: steps that are done a second time."""
    note = f"resumed by {workers} workers, saved by {before}"
    if workers != before:  # the same crops, divided otherwise
        note += ": from here on with other rounding and other gate noise"
    facts = {WORKERS: workers, "before": before, "again": again}
    return {"step": step, "time": time.time_ns() // 1_000_000, "note": note, **facts}


def _mark_best(folder: Path, step: int | None) -> None:
    if step is None:
        (folder / "best").unlink(missing_ok=True)
    else:
        durable.write_text(folder / "best", str(step))


def _check_all_stand_at(step: int, workers: int) -> None:
    if workers == 1:
        return
    steps: list[int] = [0] * workers
    dist.all_gather_object(steps, step)
    if len(set(steps)) > 1:
        raise RuntimeError(
            f"workers found checkpoints of different steps {steps}: the storage folder must be one "
            "and the same on every node"
        )
