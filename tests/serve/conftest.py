"""The HTTP application on a port of this machine, around a network that answers at once."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from amir.config import ServeSettings
from amir.inference.engine.slices import Engine
from serve.http_app import create_app
from tests.served_networks import Brightened, engine_of

if TYPE_CHECKING:
    from amir.checkpoint import Checkpoint

TOKEN, OTHER_TOKEN = "a-token-of-the-tests-alone", "a-token-of-somebody-else"


@dataclass
class RunningApp:
    """client: with a token; other: with another. log: what the application logged.

    folder: where uploads lie.
    """

    url: str
    client: httpx.Client
    other: httpx.Client
    log: io.StringIO
    folder: Path

    def lie(self) -> list[Path]:
        """Files of uploads that are there now."""
        return [path for path in self.folder.glob("*/*") if path.is_dir()]


def client_of(url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=60)


def written_tokens(path: Path) -> Path:
    """A file with both tokens."""
    path.write_text(
        f"- {{name: tester, token: {TOKEN}}}\n- {{name: other, token: {OTHER_TOKEN}}}\n"
    )
    path.chmod(0o600)
    return path


@contextmanager
def running_app(
    folder: Path, port: int, engine: Engine, /, **settings: Any
) -> Iterator[RunningApp]:
    """The application for a while, under uvicorn in a thread."""
    tokens = written_tokens(folder.parent / f"{folder.name}-tokens.yaml")
    jobs = {"folder": folder.parent / f"{folder.name}-jobs", "lease_seconds": 2}
    metrics = folder.parent / f"{folder.name}-metrics"
    tree = {
        "folder": folder,
        "metrics_folder": metrics,
        "tokens": {"file": tokens},
        "jobs": jobs,
        **settings,
    }
    log = io.StringIO()
    chosen = ServeSettings.model_validate(tree)
    app = create_app(chosen, engine, log_handler=logging.StreamHandler(log))
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=3)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), log.getvalue()
            time.sleep(0.02)
        url = f"http://127.0.0.1:{port}"
        with client_of(url, TOKEN) as client, client_of(url, OTHER_TOKEN) as other:
            yield RunningApp(url, client, other, log, folder)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def http_service(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[RunningApp]:
    """The application around a network that changes nothing, with small limits."""
    limits = {
        "decode_processes": 1,
        "upload_bytes": 2**22,
        "voxels": 2**20,
        "chunk_bytes": 2**16,
        "idle_seconds": 1.0,
    }
    rate = {"requests_per_minute": 60_000, "burst": 1000}
    folder = tmp_path_factory.mktemp("service") / "uploads"
    engine = engine_of(Brightened())
    with running_app(folder, free_port(), engine, limits=limits, rate=rate) as app:
        yield app


@dataclass(frozen=True)
class RunningService:
    """The whole service on Ray Serve. client: with a token. digest: of its champion."""

    url: str
    client: httpx.Client
    settings: ServeSettings
    digest: str


@pytest.fixture(scope="module")
def service(
    ray_cluster: None,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
    save_checkpoint: Callable[..., Checkpoint],
) -> Iterator[RunningService]:
    """serve.app:build_app around a tiny network, two HTTP replicas; TOKEN is its token.

    It goes with its module: the sweeps' tests want the CPUs that it holds.
    """
    from ray import serve

    from serve.app import build_app

    folder = tmp_path_factory.mktemp("serve on ray")
    saved = save_checkpoint(folder / "model" / "1", trains=False)
    settings = ServeSettings.model_validate(
        {
            "models": {"champion": str(saved.folder)},
            "storage": folder / "storage",
            "folder": folder / "uploads",
            "tracking": {"uri": "none"},
            "tokens": {"file": written_tokens(folder / "tokens.yaml")},
            "limits": {"decode_processes": 1},
            "engine": {"warm_up": [[32, 32]], "replica": {"cpus": 0.5}},
            "rate": {"requests_per_minute": 60_000, "burst": 1000},
            "http": {"port": free_port()},
        }
    )
    serve.start(http_options={"host": settings.http.host, "port": settings.http.port})
    serve.run(build_app(settings), name="amir", route_prefix="/")
    url = f"http://{settings.http.host}:{settings.http.port}"
    with client_of(url, TOKEN) as client:
        yield RunningService(url, client, settings, saved.digest)
    serve.shutdown()
