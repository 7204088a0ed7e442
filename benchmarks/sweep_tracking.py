"""MLflow under the load of 64 trials: what it is asked at our rate, and what it bears."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from measures import Line
from mlflow_server import free_port, mlflow_server
from postgresql import postgresql

from amir.config import TrackingSettings
from amir.tracking import BALANCE, L1, LEARNING_RATE, LOSS, RATE, WAIT, open_run
from amir.training.loop import SECONDS_PER_REPORT

TRIALS = 64
LOCAL = 8  # MLflow gives a process 15 connections to a database; a trial is a process of its own
STEPS_PER_CALL = 50  # ten steps a second, told every five seconds
WORKERS = 4  # of the server over PostgreSQL; over SQLite more would only wait for each other
NAMES = (LOSS, L1, BALANCE, LEARNING_RATE, RATE, WAIT)


def sqlite(folder: Path, quick: bool) -> Iterator[Line]:
    """Calls per second at full speed of eight writers into SQLite, as on one machine."""
    writers, seconds = _load(quick)
    what = f"asked by {TRIALS} trials, {STEPS_PER_CALL * len(NAMES)} values a call"
    yield Line("mlflow/asked", what, TRIALS / SECONDS_PER_REPORT, "calls/s")
    database = f"sqlite:///{folder / 'mlflow.db'}"
    yield from borne("sqlite", database, folder, min(writers, LOCAL), seconds)


def server(folder: Path, quick: bool) -> Iterator[Line]:
    """Of 64 through a server over SQLite."""
    with mlflow_server(f"sqlite:///{folder / 'server.db'}", folder) as address:
        yield from borne("server", address, folder, *_load(quick))


def server_postgresql(folder: Path, quick: bool) -> Iterator[Line]:
    """Of 64 through a server over PostgreSQL, where its programs are there."""
    if shutil.which("initdb"):
        with postgresql(free_port()) as uri, mlflow_server(uri, folder, workers=WORKERS) as address:
            yield from borne("postgresql", address, folder, *_load(quick))


def _load(quick: bool) -> tuple[int, float]:
    """Writers, and for how many seconds they write."""
    return (4, 2.0) if quick else (TRIALS, 25.0)


def borne(name: str, uri: str, folder: Path, writers: int, seconds: float) -> Iterator[Line]:
    """Every writer calls again as soon as its last call was answered."""
    settings = TrackingSettings(uri=uri)
    runs = [open_run(settings, folder, name=f"trial-{k}") for k in range(writers)]
    taken, refused, waits = [0] * writers, [0] * writers, [0.0] * writers
    end = time.monotonic() + seconds

    def write(number: int) -> None:
        step = 0
        while (start := time.monotonic()) < end:
            values = [(step + k, dict.fromkeys(NAMES, 0.5)) for k in range(STEPS_PER_CALL)]
            if runs[number].metrics(values):
                taken[number] += 1
            else:
                refused[number] += 1
            waits[number] = max(waits[number], time.monotonic() - start)
            step += STEPS_PER_CALL

    begun = time.monotonic()
    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = sum(taken) / (time.monotonic() - begun)
    yield Line(f"mlflow/{name}", f"{name}, {writers} writers: borne", rate, "calls/s")
    yield Line(f"mlflow/{name}/wait", f"{name}: longest call", max(waits), "s")
    yield Line(f"mlflow/{name}/refused", f"{name}: refused", sum(refused), "calls")
