"""F21: ten times as many requests as can be restored, without any patience in the clients."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np

from benchmarks.fault_rows.client_load import file_of
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.ray_service import ray_service, save_network

TARGET = "answered, or 429/503 with Retry-After; p99 of the accepted <= 3 x batch.queue_seconds"
CLIENTS, QUEUE_SECONDS = 100, 3.0
SLOW = {"dim": 24, "blocks": (4, 4, 4, 4), "heads": (1, 2, 4, 8)}


def run(*, quick: bool) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="amir-faults-") as name:
        folder = Path(name)
        saved = save_network(folder / "model", **SLOW)
        body = file_of(folder, 0).read_bytes()
        engine = {
            "warm_up": [[48, 40]],
            "batch": {"queue_seconds": QUEUE_SECONDS},
            "replica": {"cpus": 1},
        }
        with ray_service(folder, models={"champion": str(saved.folder)}, engine=engine) as service:
            capacity = requests(service.url, body, clients=2, seconds=5 if quick else 10)
            flood = requests(service.url, body, clients=CLIENTS, seconds=15 if quick else 60)
    statuses = Counter(status for status, _, _ in flood)
    accepted = [seconds for status, seconds, _ in flood if status == 200]
    impolite = [s for s, _, retry_after in flood if s in (429, 503) and not retry_after]
    others = sorted(set(statuses) - {200, 429, 503})
    p99 = float(np.percentile(accepted, 99)) if accepted else float("inf")
    per_second = sum(status == 200 for status, _, _ in capacity) / (5 if quick else 10)
    offered = len(flood) / (15 if quick else 60)
    figure = (
        f"capacity about {per_second:.1f}/s, offered {offered:.0f}/s: {dict(statuses)}, other "
        f"answers {others or 'none'}, without Retry-After {len(impolite)}; p99 of the accepted "
        f"{p99:.1f} s"
    )
    return Outcome(not others and not impolite and p99 <= 3 * QUEUE_SECONDS, figure)


def requests(
    url: str, body: bytes, *, clients: int, seconds: float
) -> list[tuple[int, float, str]]:
    """(status, seconds, Retry-After) of every request; a refused client tries again at once."""
    found: list[tuple[int, float, str]] = []
    until = time.monotonic() + seconds

    def run() -> None:
        with httpx.Client(timeout=60) as client:
            while time.monotonic() < until:
                start = time.monotonic()
                answer = client.post(f"{url}/v1/restore?modality=CT", content=body)
                taken = time.monotonic() - start
                retry_after = answer.headers.get("Retry-After", "")
                found.append((answer.status_code, taken, retry_after))
                time.sleep(0 if answer.status_code == 200 else 0.2)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
