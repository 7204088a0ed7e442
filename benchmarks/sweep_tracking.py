"""MLflow under the load of 64 trials: what it is asked at our rate, and what it bears."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measures import Line

from amir.config import TrackingSettings
from amir.tracking import BALANCE, L1, LEARNING_RATE, LOSS, RATE, WAIT, open_run
from amir.training.loop import SECONDS_PER_REPORT

TRIALS = 64
LOCAL = 8  # MLflow gives a process 15 connections to a database; a trial is a process of its own
STEPS_PER_CALL = 50  # ten steps a second, told every five seconds
NAMES = (LOSS, L1, BALANCE, LEARNING_RATE, RATE, WAIT)


def tracking(folder: Path, quick: bool) -> Iterator[Line]:
    """Calls per second at full speed: of eight writers into SQLite, as on one machine, and of 64
    through a server on it.
    """
    writers, seconds = (4, 2.0) if quick else (TRIALS, 25.0)
    asked = TRIALS / SECONDS_PER_REPORT
    what = f"asked by {TRIALS} trials, {STEPS_PER_CALL * len(NAMES)} values a call"
    yield Line("mlflow/asked", what, asked, "calls/s")
    database = f"sqlite:///{folder / 'mlflow.db'}"
    yield from borne("sqlite", database, folder, min(writers, LOCAL), seconds)
    with serve(f"sqlite:///{folder / 'server.db'}", folder) as address:
        yield from borne("server", address, folder, writers, seconds)


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


@contextmanager
def serve(database: str, folder: Path) -> Iterator[str]:
    """An MLflow server of its own on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = ["--backend-store-uri", database, "--artifacts-destination", str(folder / "files")]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", *places]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "1"],
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that its workers end with it
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"the MLflow server does not answer at {address}")
