"""F2: the process that was started to train is killed, then the head of the cluster it uses."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from amir.config import TrainSettings
from amir.training.run_folder import RunFolder
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.measures import processes
from benchmarks.ray_service import ROOT
from benchmarks.small_training import (
    arguments,
    losses,
    newest,
    prepare_environment,
    resumed,
    small_settings,
    title,
    workplace,
)

TARGET = (
    "the same command goes on with the same curve after each kill of its process or of the "
    "cluster's head; given again when the run is finished it is refused with exit code 2"
)
KILLS, QUICK = 5, 1  # of each kind
STEPS, EVERY = 120, 10
LONGEST = 300  # seconds a job may take that was not killed


def run(*, quick: bool) -> Outcome:
    kills = QUICK if quick else KILLS
    prepare_environment()
    with workplace() as place:
        whole = job(small(place, "whole"))
        _, said = whole.communicate(timeout=LONGEST)
        undisturbed = losses(RunFolder(place / "storage" / "whole"))
        wrong = [] if whole.returncode == 0 else [f"undisturbed: {said[-300:]}"]
        wrong += drivers_killed(small(place, "driver"), kills, undisturbed)
        seconds, more = heads_killed(small(place, "head"), kills, undisturbed)
        wrong += more
        again = job(small(place, "driver"))
        _, said = again.communicate(timeout=LONGEST)
        if again.returncode != 2 or "is finished after" not in said:
            wrong.append(f"the finished run again: {again.returncode}, {said[-300:]}")
        steps = [
            row["step"]
            for name in ("driver", "head")
            for row in resumed(RunFolder(place / "storage" / name))
        ]
    figure = (
        f"{kills} drivers and {kills} heads killed, taken up at steps {steps} of {STEPS}; without "
        f"its head a job ends after at most {max(seconds):.0f} s, not with 0; the finished run is "
        f"refused with exit code 2; wrong: {'; '.join(wrong) or 'none'}"
    )
    return Outcome(not wrong, figure)


def small(place: Path, name: str) -> TrainSettings:
    return small_settings(place, name, steps=STEPS, **{"checkpoints.every": EVERY})


def job(settings: TrainSettings, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / "train_all_in_one.py"), *arguments(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,
    )


def drivers_killed(
    settings: TrainSettings, kills: int, undisturbed: list[tuple[int, float]]
) -> list[str]:
    """Kill the job after some checkpoints, so many times; then let it end."""
    folder = RunFolder(settings.storage / str(settings.run))
    for seed in range(kills):
        running = job(settings)
        trained = wait_for_checkpoints(folder, running, random.Random(seed), resumes=seed)
        os.kill(running.pid, signal.SIGKILL)
        _, said = running.communicate(timeout=60)
        if not trained:
            return [f"driver, start {seed}: {said[-300:]}"]
    last = job(settings)
    _, said = last.communicate(timeout=LONGEST)
    return faults("driver", folder, undisturbed, kills, last.returncode, said)


def heads_killed(
    settings: TrainSettings, kills: int, undisturbed: list[tuple[int, float]]
) -> tuple[list[float], list[str]]:
    """The same with the head of the cluster; and how long its job took to end each time."""
    folder = RunFolder(settings.storage / str(settings.run))
    seconds = [0.0]
    for seed in range(kills):
        with head() as (address, kill):
            running = job(settings, RAY_ADDRESS=address)
            generator = random.Random(100 + seed)
            trained = wait_for_checkpoints(folder, running, generator, resumes=seed)
            kill()
            start = time.monotonic()
            _, said = running.communicate(timeout=LONGEST)
            seconds.append(time.monotonic() - start)
        if not trained or running.returncode == 0:
            return seconds, [f"head, start {seed}: {running.returncode}, {said[-300:]}"]
    with head() as (address, _):
        last = job(settings, RAY_ADDRESS=address)
        _, said = last.communicate(timeout=LONGEST)
    return seconds, faults("head", folder, undisturbed, kills, last.returncode, said)


def faults(
    name: str,
    folder: RunFolder,
    undisturbed: list[tuple[int, float]],
    kills: int,
    code: int,
    said: str,
) -> list[str]:
    if code:
        return [f"{name}: the last command left with {code}: {said[-300:]}"]
    found = [] if losses(folder) == undisturbed else [f"{name}: another curve"]
    count = len(resumed(folder))
    return found if count == kills else [*found, f"{name}: taken up {count} times, not {kills}"]


def wait_for_checkpoints(
    folder: RunFolder, running: subprocess.Popen[str], generator: random.Random, *, resumes: int
) -> bool:
    """Until one or two more are there, and a moment longer; False if the job ends before.

    resumes: how often the run has been taken up when this job trains. Before that, a worker of the
    job killed last may still save what it was at.
    """
    while running.poll() is None and len(resumed(folder)) < resumes:
        time.sleep(0.05)
    step = newest(folder) + EVERY * generator.randint(1, 2)
    while running.poll() is None and newest(folder) < step:
        time.sleep(0.01)
    time.sleep(generator.uniform(0, 0.3))
    return running.poll() is None


@contextmanager
def head() -> Iterator[tuple[str, object]]:
    """A cluster of one node: its address, and what kills its head and its raylet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    sockets = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    command = ["ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    options = [f"--port={port}", f"--temp-dir={sockets}", "--num-cpus=4"]
    quiet = ["--include-dashboard=false", "--disable-usage-stats"]
    memory = ["--object-store-memory=300000000"]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name(command[0])), *command[1:], *options, *quiet, *memory],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def kill() -> None:
        for pid in processes():
            if sockets in title(pid) and ("gcs_server" in title(pid) or "raylet" in title(pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    try:
        _wait_for_port(port, process)
        yield f"127.0.0.1:{port}", kill
    finally:
        kill()
        for pid in [pid for pid in processes() if sockets in title(pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()
        shutil.rmtree(sockets, ignore_errors=True)


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            time.sleep(5)  # the port opens before the node can take work
            return
        time.sleep(0.2)
    raise RuntimeError("the cluster did not start")
