"""F7: replicas of the engine, then of the ingress, are killed under load."""

from __future__ import annotations

import random
import tempfile
import time
from itertools import product
from pathlib import Path

from benchmarks.fault_rows.client_load import load
from benchmarks.fault_rows.expected import Expectations
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.ray_service import ray_service, save_network

TARGET = "no failed request through amir.client (6 tries, 60 s each); the same answers (F23)"
CLIENTS = (12, 50)
EVERY = 5.0  # seconds


def run(*, quick: bool) -> Outcome:
    """quick: twelve clients alone, for a third of the time."""
    holds, figures = True, []
    with tempfile.TemporaryDirectory(prefix="amir-faults-") as name:
        folder = Path(name)
        saved = save_network(folder / "model")
        expected = Expectations(saved)
        engine = {"warm_up": [[48, 40]], "replica": {"cpus": 0.5, "smallest": 2, "largest": 2}}
        with ray_service(folder, models={"champion": str(saved.folder)}, engine=engine) as service:
            for clients, killed in product(CLIENTS[: 1 if quick else 2], ("engine", "http")):
                kills = 0
                with load(service.url, folder, clients=clients, expected=expected) as tally:
                    until = time.monotonic() + (20 if quick else 60)
                    while time.monotonic() < until:
                        time.sleep(EVERY)
                        if pids := service.pids(f"ServeReplica:amir:{killed}"):
                            service.kill(random.choice(pids))
                            kills += 1
                holds = holds and tally.holds and kills > 0
                figures.append(f"{clients} clients, {kills} kills of {killed}: {tally.figure()}")
    return Outcome(holds, "; ".join(figures))
