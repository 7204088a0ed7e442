"""F8: Ray Serve's controller, then its proxy, are killed under load."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.fault_rows.client_load import load
from benchmarks.fault_rows.expected import Expectations
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.ray_service import RayService, ray_service, save_network

TARGET = "answers again within 30 s; no failed request through amir.client"
SECONDS = 30.0


def run(*, quick: bool) -> Outcome:
    """quick makes no difference: it takes a minute."""
    holds, figures = True, []
    with tempfile.TemporaryDirectory(prefix="amir-faults-") as name:
        folder = Path(name)
        saved = save_network(folder / "model")
        models, engine = {"champion": str(saved.folder)}, {"replica": {"cpus": 0.5}}
        with ray_service(folder, models=models, engine=engine) as service:
            for killed in ("ServeController", "ProxyActor"):
                with load(service.url, folder, clients=4, expected=Expectations(saved)) as tally:
                    time.sleep(3)
                    seconds = recovery(service, killed)
                    time.sleep(3)
                holds = holds and tally.holds and seconds < SECONDS
                figures.append(f"{killed} back after {seconds:.1f} s: {tally.figure()}")
    return Outcome(holds, "; ".join(figures))


def recovery(service: RayService, name: str) -> float:
    """Seconds until another process of this name runs and the service says that it is ready."""
    (before,) = service.pids(name)
    start = time.monotonic()
    service.kill(before)
    while not (set(service.pids(name)) - {before} and service.is_ready()):
        if time.monotonic() - start > 3 * SECONDS:
            return float("inf")
        time.sleep(0.2)
    return time.monotonic() - start
