"""F4: a training process is killed while it writes checkpoints, as fast as it can."""

from __future__ import annotations

import os
import random
import signal
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from amir import checkpoint
from amir.checkpoint import Checkpoint
from amir.config import IntensityScale
from amir.training.initial import initial_model
from amir.training.run_folder import RunFolder
from amir.training.saving import save_checkpoint, take_up
from amir.training.state import TrainingState, training_state
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.fault_rows.warnings_told import Warnings
from benchmarks.small_training import small_settings, workplace

TARGET = "200 kills: the newest checkpoint is always sound and never older than one said to be done"
LOOPS, QUICK = 200, 20
LONGEST_SECONDS = 0.5  # several checkpoints


def run(*, quick: bool) -> Outcome:
    loops, generator = QUICK if quick else LOOPS, random.Random(4)
    damaged = Warnings(checkpoint.__name__)
    wrong: list[str] = []
    written = during = before = 0
    with workplace() as place:
        folder = RunFolder(place / "storage" / "run")
        folder.path.mkdir(parents=True)
        for loop in range(loops):
            done = killed_saving(place, folder, seconds=generator.uniform(0, LONGEST_SECONDS))
            during += any(folder.checkpoints.glob(".*.partial*"))
            found = checkpoint.latest(folder.checkpoints)
            written += done - before
            if done and (found is None or found.step < done):
                wrong.append(f"loop {loop}: step {done} was done, {_step(found)} is the newest")
            before = _taken_up(place, folder)
            if any(folder.checkpoints.glob(".*.partial*")):
                wrong.append(f"loop {loop}: what was half-written is still there")
    figure = (
        f"{loops} kills, {during} of them in the midst of writing, {written} checkpoints done: "
        f"{len(damaged.told)} damaged, {'; '.join(wrong) or 'none lost'}"
    )
    return Outcome(not wrong and not damaged.told, figure)


def killed_saving(place: Path, folder: RunFolder, *, seconds: float) -> int:
    """Save step after step in another process and kill it after so long; the last step done."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_save_for_ever, args=(place, folder, sender))
    process.start()
    sender.close()
    done = receiver.recv()  # the one it went on from: from here on it writes
    time.sleep(seconds)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    try:
        while True:
            done = receiver.recv()
    except EOFError:
        return int(done)


def _save_for_ever(place: Path, folder: RunFolder, done: Connection) -> None:
    state = _state(place, folder)
    done.send(state.step)
    while True:
        state.step += 1
        settings = checkpoint.describe(
            "amir",
            small_settings(place, "run").model.network(),
            intensity=IntensityScale(),
            dataset_digest="00" * 32,
            code_version="benchmark",
            step=state.step,
        )
        save_checkpoint(state, folder, settings=settings, scores={}, workers=1, keep=2)
        done.send(state.step)


def _taken_up(place: Path, folder: RunFolder) -> int:
    """Go on as the next run would; the step it stands at."""
    return _state(place, folder).step


def _state(place: Path, folder: RunFolder) -> TrainingState:
    settings = small_settings(place, "run")
    model = initial_model(settings)
    state = training_state(settings, model, model)
    take_up(state, folder, rank=0, workers=1)
    return state


def _step(found: Checkpoint | None) -> str:
    return "none" if found is None else f"step {found.step}"
