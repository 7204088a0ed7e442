"""The engine's replicas under Ray Serve: one that dies, and as many as the load needs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from amir.checkpoint import Checkpoint
from amir.config import ServeSettings
from amir.inference.restorer import Restorer
from amir.modality import Modality
from serve.engine.deployment import NAME, engine_application
from serve.engine.handle import ServeEngine
from tests.served_networks import ct_request

pytestmark = pytest.mark.ray
APPLICATION = "engine alone"


@pytest.fixture
def engine(
    ray_cluster: None, save_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> Iterator[Callable[..., tuple[ServeEngine, Checkpoint]]]:
    """Starts replicas around a tiny network: engine(smallest=2) -> its handle, its model."""
    from ray import serve

    def start(**replica: float) -> tuple[ServeEngine, Checkpoint]:
        saved = save_checkpoint(tmp_path / "1", trains=False)
        settings = ServeSettings.model_validate(
            {
                "models": {"champion": str(saved.folder)},
                "storage": tmp_path,
                "tracking": {"uri": "none"},
                "engine": {"warm_up": [], "replica": {"cpus": 0.3, **replica}},
            }
        )
        handle = serve.run(engine_application(settings), name=APPLICATION, route_prefix=None)
        return ServeEngine(handle), saved

    yield start
    serve.delete(APPLICATION)


def replicas() -> list[int]:
    """Process ids of the engine's running replicas."""
    titles = {
        int(folder.name): (folder / "cmdline").read_text(errors="replace")
        for folder in Path("/proc").glob("[0-9]*")
        if (folder / "cmdline").exists()
    }
    return [pid for pid, title in titles.items() if f"ServeReplica:{APPLICATION}:{NAME}" in title]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_call_whose_replica_dies_is_answered_by_another(engine) -> None:
    handle, saved = engine(smallest=2, largest=2)

    async def work() -> list[np.ndarray]:
        digest = (await handle.choose("")).digest
        request = ct_request(60, 32, 32, model=digest)
        calls = [asyncio.create_task(handle.restore(request)) for _ in range(6)]
        await asyncio.sleep(0.2)
        os.kill(replicas()[0], signal.SIGKILL)
        return [answer.restored for answer in await asyncio.gather(*calls)]

    answers = asyncio.run(work())
    expected = Restorer.of(saved).restore_slices(ct_request(60, 32, 32).slices, Modality.CT)
    for answer in answers:
        np.testing.assert_array_equal(answer, answers[0])  # by whichever replica
        np.testing.assert_allclose(answer, expected, atol=0.04)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_replicas_come_with_the_load_and_go_without_it(engine) -> None:
    handle, _ = engine(
        smallest=1, largest=3, target_requests=1, upscale_seconds=1, downscale_seconds=3
    )
    stop = threading.Event()

    async def client() -> None:
        digest = (await handle.choose("")).digest
        while not stop.is_set():
            await handle.restore(ct_request(20, 64, 64, model=digest))

    async def clients() -> None:
        await asyncio.gather(*(client() for _ in range(9)))

    assert len(replicas()) == 1
    load = threading.Thread(target=lambda: asyncio.run(clients()))
    load.start()
    try:
        wait_until(lambda: len(replicas()) == 3)
    finally:
        stop.set()
        load.join()
    wait_until(lambda: len(replicas()) == 1)


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{len(replicas())} replicas after {seconds:g} s"
        time.sleep(0.5)
