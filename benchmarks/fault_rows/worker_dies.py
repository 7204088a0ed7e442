"""F1: training workers are killed at random times, also while they start and while they save."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from amir.training.ray_trainer import run as train
from amir.training.run_folder import RunFolder
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.small_training import (
    WORKER,
    losses,
    newest,
    resumed,
    small_ray,
    small_settings,
    titled,
    workplace,
)

TARGET = (
    "20 kills, a seed for each: every curve is the undisturbed one bit for bit; at most "
    "checkpoints.every steps are lost, because the newest checkpoint of that moment is taken up"
)
KILLS, QUICK = 20, 3
KILLS_PER_RUN = 4
STEPS, EVERY = 300, 20
CHOSEN = {
    "steps": STEPS,
    "checkpoints.every": EVERY,
    "workers.count": 2,
    "workers.cpus": 1.75,
    "workers.threads": 1,
    "workers.max_failures": 2 * KILLS_PER_RUN,
}


@dataclass(frozen=True)
class Kill:
    """time: milliseconds since 1970. newest: the step of the newest checkpoint then."""

    time: int
    newest: int


@dataclass(frozen=True)
class Shot:
    """A run and its kills. again: recorded steps that were done again, at each start."""

    kills: list[Kill]
    again: list[int]
    faults: list[str]


def run(*, quick: bool) -> Outcome:
    wanted = QUICK if quick else KILLS
    shots: list[Shot] = []
    with workplace() as place, small_ray():
        undisturbed = losses(train(small_settings(place, "whole", **CHOSEN)).folder)
        while (done := sum(len(shot.kills) for shot in shots)) < wanted:
            seeds = range(done, min(done + KILLS_PER_RUN, wanted))
            shots.append(shot_run(place, f"shot-{len(shots)}", seeds, undisturbed))
            sys.stderr.write(f"F1: {shots[-1]}\n")
    kills = [kill for shot in shots for kill in shot.kills]
    wrong = [fault for shot in shots for fault in shot.faults]
    again = max((steps for shot in shots for steps in shot.again), default=0)
    figure = (
        f"{len(kills)} kills in {len(shots)} runs of {STEPS} steps by 2 workers, "
        f"{sum(kill.newest == 0 for kill in kills)} before the first checkpoint: at most {again} "
        f"recorded steps done again, a checkpoint every {EVERY}; "
        f"wrong: {'; '.join(wrong) or 'none'}"
    )
    return Outcome(not wrong and len(undisturbed) == STEPS, figure)


def shot_run(place: Path, name: str, seeds: range, undisturbed: list[tuple[int, float]]) -> Shot:
    settings = small_settings(place, name, **CHOSEN)
    folder = RunFolder(settings.storage / name)
    hunter = Hunter(folder, seeds=seeds)
    hunter.start()
    train(settings)
    hunter.end()
    faults = older_taken_up(folder, hunter.done)
    if losses(folder) != undisturbed:
        faults.append(f"{name}: another curve")
    return Shot(hunter.done, [row["again"] for row in resumed(folder)], faults)


def older_taken_up(folder: RunFolder, kills: list[Kill]) -> list[str]:
    """Where a run went on from an older checkpoint than the newest at the kill before."""
    starts = resumed(folder)
    after = [next((row for row in starts if row["time"] > kill.time), None) for kill in kills]
    return [
        f"step {kill.newest} was saved, taken up was {row['step']}"
        for kill, row in zip(kills, after, strict=True)
        if row is not None and row["step"] < kill.newest
    ]


class Hunter:
    """Kills a random worker of a run some time after each start, once for each seed."""

    def __init__(self, folder: RunFolder, *, seeds: range) -> None:
        self.folder, self.seeds = folder, seeds
        self.done: list[Kill] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._hunt, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _hunt(self) -> None:
        shot: set[int] = set()
        for seed in self.seeds:
            generator = random.Random(seed)
            workers = self._started(shot)
            checkpoints = generator.randrange(3)
            if checkpoints == 0:  # wherever it is then: starting, taking up, training
                self._stop.wait(generator.uniform(0, 4))
            else:
                self._wait_for(newest(self.folder) + EVERY * checkpoints)
                self._stop.wait(generator.uniform(0, 0.5))
            if self._stop.is_set():
                return
            at = Kill(time.time_ns() // 1_000_000, newest(self.folder))
            with suppress(ProcessLookupError):
                os.kill(generator.choice(workers), signal.SIGKILL)
                self.done.append(at)
            shot |= set(workers)

    def _started(self, before: set[int]) -> list[int]:
        """The processes of both workers, other ones than those before."""
        while len(workers := set(titled(WORKER)) - before) < 2 and not self._stop.is_set():
            time.sleep(0.02)
        return sorted(workers)

    def _wait_for(self, step: int) -> None:
        while newest(self.folder) < step and not self._stop.is_set():
            time.sleep(0.01)
