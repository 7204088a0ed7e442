"""F3: a node goes away in the midst of an elastic training, and comes back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amir.training.alone import train_alone
from amir.training.ray_trainer import run as train
from amir.training.run_folder import RunFolder
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.small_training import (
    losses,
    newest,
    prepare_environment,
    resumed,
    small_settings,
    workplace,
)

TARGET = (
    "goes on with 1 of 2 workers and with 2 again, by itself; every step once; what changed is "
    "said; losses no further from those of one process than three times an undisturbed run with "
    "two workers"
)
STEPS, EVERY = 400, 20
LOOK_SECONDS = 10.0
# Rounding alone parts two curves, faster and faster (training_parity.py); other crops would part
# them by tens of per cent at once.
MOST_DIFFERENCE = 3.0  # times that of two workers that nothing happens to
NODE = {"num_cpus": 2, "object_store_memory": 100_000_000}


def run(*, quick: bool) -> Outcome:
    """quick makes no difference: one node, there and back."""
    prepare_environment()
    import ray
    from ray.cluster_utils import Cluster

    chosen = {
        "steps": STEPS,
        "checkpoints.every": EVERY,
        "model.gate_noise": False,  # so that only rounding tells one worker from two
        "workers.count": 2,
        "workers.least": 1,
        "workers.cpus": 1.5,  # one to a node, and room for its feed
        "workers.look_seconds": LOOK_SECONDS,
    }
    with workplace() as place:
        whole = losses(train_alone(small_settings(place, "alone", **chosen)))
        sockets = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
        head = {**NODE, "include_dashboard": False, "temp_dir": sockets, "num_cpus": 0}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        nodes = [cluster.add_node(**NODE) for _ in range(2)]
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
            pair = losses(train(small_settings(place, "pair", **chosen)).folder)
            settings = small_settings(place, "torn", **chosen)
            folder = RunFolder(settings.storage / "torn")
            away = Away(cluster, nodes[1], folder)
            away.start()
            try:
                train(settings)
            finally:
                away.end()
        finally:
            ray.shutdown()
            cluster.shutdown()
            shutil.rmtree(sockets, ignore_errors=True)
        starts, curve = resumed(folder), losses(folder)
    counts = [2, *(row["train/workers"] for row in starts)]
    said = all(
        "other rounding" in row["note"] for row in starts if row["before"] != row["train/workers"]
    )
    steps_once = [step for step, _ in curve] == list(range(1, STEPS + 1))
    off, undisturbed = _apart(curve, whole), _apart(pair, whole)
    again = max((row["again"] for row in starts), default=0)
    figure = (
        f"workers {' -> '.join(map(str, counts))} at steps {[row['step'] for row in starts]} of "
        f"{STEPS}, at most {again} recorded steps done again; "
        f"{away.told()}; losses at most {off:.1e} off those of one process, "
        f"{undisturbed:.1e} undisturbed with two workers"
    )
    near = off <= MOST_DIFFERENCE * undisturbed
    holds = steps_once and said and counts[-1] == 2 and 1 in counts and near
    return Outcome(holds, figure)


def _apart(curve: Sequence[tuple[int, float]], other: Sequence[tuple[int, float]]) -> float:
    """The largest relative difference of two losses of the same step."""
    return max(abs(a / b - 1) for (_, a), (_, b) in zip(curve, other, strict=True))


class Away(threading.Thread):
    """Takes a node away after some checkpoints, and adds one when the run has gone on without."""

    def __init__(self, cluster: Any, node: Any, folder: RunFolder) -> None:
        super().__init__(daemon=True)
        self.cluster, self.node, self.folder = cluster, node, folder
        self.waited: list[float] = []
        self._back: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        self._wait_for(3 * EVERY, workers=2)
        self.cluster.remove_node(self.node, allow_graceful=False)
        self._time(workers=1)
        self._wait_for(newest(self.folder) + 2 * EVERY, workers=1)
        self._come_back()
        self._time(workers=2)

    def end(self) -> None:
        self.join(timeout=60)
        if self._back is not None:
            os.killpg(self._back.pid, signal.SIGKILL)
            self._back.wait()

    def _come_back(self) -> None:
        """As an operator starts a node; the cluster's own way is for the main thread alone."""
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block"]
        size = [f"--num-cpus={NODE['num_cpus']}", f"--object-store-memory={100_000_000}"]
        self._back = subprocess.Popen(
            [*command, f"--address={self.cluster.address}", *size, "--disable-usage-stats"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def told(self) -> str:
        down, up = (*self.waited, float("nan"), float("nan"))[:2]
        return f"on with 1 worker {down:.0f} s after the loss, with 2 {up:.0f} s after the return"

    def _time(self, *, workers: int) -> None:
        """How long until the run goes on with so many."""
        start = time.monotonic()
        while self._workers() != workers and newest(self.folder) < STEPS:
            time.sleep(0.1)
        self.waited.append(time.monotonic() - start)

    def _wait_for(self, step: int, *, workers: int) -> None:
        while newest(self.folder) < step:
            time.sleep(0.05)

    def _workers(self) -> int:
        starts = resumed(self.folder)
        return int(starts[-1]["train/workers"]) if starts else 2
