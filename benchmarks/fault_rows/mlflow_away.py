"""F11: MLflow is killed, or stopped so that it does not answer, while others need it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from amir.config import ServeSettings, StatusSettings, TrackingSettings
from amir.inference.engine.running import RunningEngine
from amir.inference.engine.slices import SliceRequest
from amir.modality import Modality
from amir.model_registry.versions import CHAMPION, DIGEST, ModelRegistry
from amir.tracking import mlflow_client, open_run
from amir.training import attempt
from amir.training.alone import train_alone
from amir.training.backfill import backfilled
from amir.training.run_folder import RunFolder
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.ray_service import save_network
from benchmarks.small_training import losses, small_settings, workplace

TARGET = (
    "training goes on; MLflow then has every step once, in order, with its own time; serving keeps "
    "its model"
)
STEPS, QUICK = 1200, 600
REQUESTS = 20


def run(*, quick: bool) -> Outcome:
    steps = QUICK if quick else STEPS
    with workplace() as place:
        server = Server(place)
        server.start()
        try:
            longest, wrong = away_for_a_while(place, server, steps)
            left, more = away_at_the_end(place, server)
            wrong += [*more, *serving(place, server)]
        finally:
            server.kill()
    figure = (
        f"{steps} steps with MLflow killed for a quarter and stopped for another, the longest took "
        f"{longest:.2f} s; {left} lines that were left at the end were sent afterwards; "
        f"{REQUESTS} requests answered by the same model with the registry down; wrong: "
        f"{'; '.join(wrong) or 'none'}"
    )
    return Outcome(not wrong and left > 0, figure)


def away_for_a_while(place: Path, server: Server, steps: int) -> tuple[float, list[str]]:
    """The longest step in seconds, and what is wrong."""
    settings = small_settings(
        place, "while", steps=steps, **{"tracking.uri": server.url, "checkpoints.every": 200}
    )
    folder = RunFolder(settings.storage / "while")
    acts: list[tuple[float, Callable[[], None]]] = [
        (1 / 8, server.kill),
        (3 / 8, server.start),
        (4 / 8, server.stop),
        (6 / 8, server.go_on),
    ]

    def play() -> None:
        for share, act in acts:
            while folder.step() < share * steps:
                time.sleep(0.1)
            act()

    actor = threading.Thread(target=play, daemon=True)
    actor.start()
    train_alone(settings)
    actor.join()
    longest = max(
        settings.batch / row["train/samples_per_second"]
        for row in folder.rows()
        if "train/samples_per_second" in row
    )
    return longest, recorded(folder, server.url, steps)


def away_at_the_end(place: Path, server: Server) -> tuple[int, list[str]]:
    """How many lines MLflow did not take of a run, and what is wrong once they are sent."""
    settings = small_settings(place, "end", steps=60, **{"tracking.uri": server.url})
    folder = RunFolder(settings.storage / "end")

    def play() -> None:
        while not folder.rows():
            time.sleep(0.01)
        server.kill()

    actor = threading.Thread(target=play, daemon=True)
    actor.start()
    patience, attempt.SECONDS_FOR_MLFLOW = attempt.SECONDS_FOR_MLFLOW, 3
    try:
        train_alone(settings)
    finally:
        attempt.SECONDS_FOR_MLFLOW = patience
    actor.join()
    left = len(folder.rows()) - _lines_before(folder)
    server.start()
    tracking = TrackingSettings(uri=server.url)
    asked = StatusSettings(storage=settings.storage, run="end", tracking=tracking)
    told = list(backfilled(asked))
    wrong = recorded(folder, server.url, 60)
    return left, wrong if len(told) == 1 else [*wrong, f"told {told}"]


def _lines_before(folder: RunFolder) -> int:
    """Lines of metrics.jsonl that MLflow has taken."""
    return folder.metrics.read_bytes()[: folder.sent()].count(b"\n")


def recorded(folder: RunFolder, url: str, steps: int) -> list[str]:
    """What is wrong with MLflow's history of the loss."""
    history = mlflow_client(url).get_metric_history(folder.mlflow_run_id(), "train/loss")
    expected = losses(folder)
    wrong = []
    if [(m.step, m.value) for m in history] != expected or len(expected) != steps:
        wrong.append(f"{folder.name}: {len(history)} losses in MLflow, {len(expected)} of {steps}")
    times = [m.timestamp for m in history]
    if times != sorted(times):
        wrong.append(f"{folder.name}: not in order")
    return wrong


def serving(place: Path, server: Server) -> list[str]:
    """An engine that has loaded the champion answers on, by the same model."""
    saved = save_network(place / "model")
    tracking = TrackingSettings(uri=server.url)
    made_by = open_run(tracking, place / "storage", name="benchmark")
    registry = ModelRegistry.of(tracking, place / "storage")
    version = registry.register(saved.folder, run_id=made_by.id, tags={DIGEST: saved.digest})
    registry.point(CHAMPION, version)
    settings = ServeSettings.model_validate(
        {
            "storage": place / "serving",
            "tracking": {"uri": server.url},
            "engine": {"warm_up": [], "swap": {"poll_seconds": 3600}},
        }
    )
    image = np.random.default_rng(0).uniform(-1000, 3000, (1, 32, 32)).astype(np.float32)

    async def ask() -> list[str]:
        running = RunningEngine(settings)
        await running.start()
        try:
            request = SliceRequest(image, Modality.CT, 1.0, saved.digest)
            before = (await running.engine.restore(request)).restored
            server.kill()
            wrong = []
            for number in range(REQUESTS):
                await running.watch.refresh() if number % 10 == 0 else None
                chosen = await running.engine.choose("")
                after = (await running.engine.restore(request)).restored
                if chosen.digest != saved.digest or not np.array_equal(before, after):
                    wrong.append(f"request {number}: {chosen.digest[:8]}")
            return wrong
        finally:
            running.close()

    return asyncio.run(ask())


class Server:
    """`mlflow server` on SQLite, which can be taken away and brought back at its address."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.folder, self.url = folder, f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        files = self.folder / "files"
        places = [f"--backend-store-uri=sqlite:///{self.folder}/mlflow.db"]
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", "--workers=1"),
                *(f"--port={self.port}", f"--artifacts-destination={files}", *places),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that its workers end with it
        )
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            with (
                suppress(OSError),
                urllib.request.urlopen(f"{self.url}/health", timeout=5),
            ):
                return
            time.sleep(0.2)
        raise RuntimeError("mlflow server did not start")

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT)
