"""The whole service on a Ray of its own, around tiny networks; its processes can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from amir import checkpoint, cluster
from amir.checkpoint import Checkpoint
from amir.config import IntensityScale, ServeSettings
from amir.models.registry import build_model
from benchmarks.measures import processes
from serve import proxy

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "dim": 4,
    "blocks": (1, 1, 1, 1),
    "refinement_blocks": 1,
    "heads": (1, 1, 1, 1),
    "instructions": 4,
}
UNLIMITED = {"requests_per_minute": 1e6, "burst": 1_000_000}


@dataclass(frozen=True)
class RayService:
    """url: without a slash at its end."""

    url: str
    settings: ServeSettings

    def pids(self, name: str) -> list[int]:
        """Processes of this Ray whose title holds a name, such as ServeReplica:amir:engine."""
        return [pid for pid in processes() if name in _title(pid)]

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                return True
        except OSError:
            return False


@contextmanager
def ray_service(folder: Path, **settings: Any) -> Iterator[RayService]:
    """Runs while the block does; open to this machine. settings: of the service."""
    import ray
    from ray import serve

    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    for name, value in (cluster.ENVIRONMENT | proxy.ENVIRONMENT).items():
        os.environ.setdefault(name, value)
    from serve.app import build_app

    chosen = ServeSettings.model_validate(
        {
            "storage": folder / "storage",
            "folder": folder / "uploads",
            "tokens": {"required": False},
            "http": {"port": _free_port()},
            "rate": UNLIMITED,
            **settings,
        }
    )
    sockets = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # their paths must be short
    ray.init(
        address="local",
        num_cpus=8,
        include_dashboard=False,
        object_store_memory=500_000_000,
        runtime_env=cluster.local_environment(),
        _temp_dir=sockets,
        logging_level="error",
        log_to_driver=False,
    )
    try:
        serve.start(http_options={"host": chosen.http.host, "port": chosen.http.port})
        serve.run(build_app(chosen), name="amir", route_prefix="/")
        yield RayService(f"http://{chosen.http.host}:{chosen.http.port}", chosen)
    finally:
        serve.shutdown()
        ray.shutdown()
        shutil.rmtree(sockets, ignore_errors=True)


def save_network(folder: Path, *, seed: int = 0, **network: Any) -> Checkpoint:
    """A checkpoint of an AMIR with random weights; a tiny one by default."""
    torch.manual_seed(seed)
    chosen = network or TINY
    settings = checkpoint.describe(
        "amir",
        chosen,
        intensity=IntensityScale(),
        dataset_digest="00" * 32,
        code_version="benchmark",
        step=1,
    )
    weights = build_model("amir", **chosen).state_dict()
    return checkpoint.save(folder, weights=weights, settings=settings, scores={})


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
