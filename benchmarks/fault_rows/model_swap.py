"""F9: the champion's alias is moved to and fro under twenty requests a second."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from amir.config import TrackingSettings
from amir.model_registry.versions import CHAMPION, DIGEST, ModelRegistry
from amir.tracking import open_run
from benchmarks.fault_rows.client_load import Tally, load
from benchmarks.fault_rows.expected import Expectations
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.ray_service import ray_service, save_network

TARGET = "512 of 512 answered, every one by a single model, both seen; a rollback within a minute"
REQUESTS, RATE, MOVES = 512, 20.0, 4
MINUTE = 60.0
TWO_SLICES = 2 * 4 * 48 * 40  # bytes: a file goes to the engine in three chunks


def run(*, quick: bool) -> Outcome:
    wanted = 128 if quick else REQUESTS
    with tempfile.TemporaryDirectory(prefix="amir-faults-") as name:
        folder = Path(name)
        saved = [save_network(folder / f"{seed}", seed=seed) for seed in (1, 2)]
        tracking = TrackingSettings(uri=f"sqlite:///{folder}/mlflow.db")
        made_by = open_run(tracking, folder, name="benchmark")
        registry = ModelRegistry.of(tracking, folder)
        versions = [
            registry.register(one.folder, run_id=made_by.id, tags={DIGEST: one.digest})
            for one in saved
        ]
        made_by.finish()
        registry.point(CHAMPION, versions[0])
        with (
            ray_service(
                folder,
                tracking={"uri": tracking.uri},
                engine={
                    "swap": {"poll_seconds": 1},
                    "replica": {"cpus": 0.5, "smallest": 2, "largest": 2},
                },
                limits={"chunk_bytes": TWO_SLICES},
            ) as service,
            load(service.url, folder, clients=8, expected=Expectations(*saved), rate=RATE) as tally,
        ):
            seconds: list[float] = []
            for move in range(1, MOVES + 1):
                while tally.answered < wanted * move / (MOVES + 1) and not tally.failures:
                    time.sleep(0.05)
                registry.point(CHAMPION, versions[move % 2])
                seconds.append(until_answered_by(saved[move % 2].digest, tally))
            while tally.answered < wanted and not tally.failures:
                time.sleep(0.05)
    seen = set(tally.digests) == {one.digest for one in saved}
    by_model = ", ".join(f"{digest[:8]} {count}" for digest, count in tally.digests.items())
    told = ", ".join(f"{one:.1f}" for one in seconds)
    figure = f"{MOVES} moves, answered after {told} s: {tally.figure()}; by model: {by_model}"
    holds = tally.holds and seen and tally.answered >= wanted and max(seconds) < MINUTE
    return Outcome(holds, figure)


def until_answered_by(digest: str, tally: Tally) -> float:
    """Seconds from now to the next answer of a model."""
    start, before = time.monotonic(), tally.digests[digest]
    while tally.digests[digest] == before:
        if time.monotonic() - start > MINUTE or tally.failures:
            return float("inf")
        time.sleep(0.05)
    return time.monotonic() - start
