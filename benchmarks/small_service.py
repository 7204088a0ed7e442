"""The whole HTTP application in a process of its own, around a network of 153 parameters; no Ray.

For what attacks it: the process can be watched, and its death ends nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90


@dataclass(frozen=True)
class SmallService:
    """url: without a slash at its end. pid: of the process. folder: where its uploads lie."""

    url: str
    port: int
    pid: int
    folder: Path

    def processes(self) -> list[int]:
        """Itself and the processes that it has started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def is_alive(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().split(")")[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def memory(self) -> int:
        """Resident bytes of the process itself."""
        return _status(self.pid, "VmRSS")

    def peak_memory(self) -> int:
        """The largest sum that resident bytes of all processes can have had at once."""
        return sum(_status(pid, "VmHWM") for pid in self.processes())

    def open_files(self) -> int:
        """The least of several looks: the metrics' file, say, is open for a moment now and then."""
        looks = []
        for _ in range(10):
            time.sleep(0.1)
            looks.append(len(list(Path(f"/proc/{self.pid}/fd").iterdir())))
        return min(looks)

    def files_on_disk(self) -> list[str]:
        """Of uploads and results: all but the lock of the process."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.folder)) for path in found if path.name != "lock")

    def files_left(self, seconds: float = 10.0) -> list[str]:
        """Those on disk once all requests have been answered and cleared up, or time is up."""
        deadline = time.monotonic() + seconds
        while (files := self.files_on_disk()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return files

    def metric(self, name: str, label: str = "") -> float:
        """The sum over those of a metric's labels that hold this one."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        named = (line for line in lines if line.split("{")[0].split(" ")[0] == name)
        values = [line for line in named if label in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in values)


class Blur(nn.Module):
    """Two small convolutions; sleeps a while where a fault needs work to take its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1)
        )

    def forward(self, degraded: Tensor) -> Any:
        from amir.models.restored import Restored

        time.sleep(self.seconds)
        return Restored(degraded + 0.1 * self.layers(degraded), degraded.new_zeros(()))


@contextmanager
def small_service(
    folder: Path, *, seconds: float = 0.0, **settings: Mapping[str, Any]
) -> Iterator[SmallService]:
    """Runs while the block does. seconds: that a batch takes. settings: of the service."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    uploads = folder / "uploads"
    chosen = {"tokens": {"required": False}, "folder": str(uploads), "storage": str(folder)}
    told = json.dumps({"port": port, "seconds": seconds, "settings": {**chosen, **settings}})
    paths = os.pathsep.join([str(ROOT), str(ROOT / "platform"), os.environ.get("PYTHONPATH", "")])
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.small_service", told],
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        service = SmallService(f"http://127.0.0.1:{port}", port, process.pid, uploads)
        try:
            _wait(service, process, folder / "service.log")
            yield service
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)


def _wait(service: SmallService, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{service.url}/readyz", timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"the service did not start: {log.read_text()[-2000:]}"
                ) from None
            time.sleep(0.1)


def _status(pid: int, field: str) -> int:
    """A line of /proc/PID/status in bytes; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), 0)


async def _serve(port: int, seconds: float, settings: Mapping[str, Any]) -> None:
    import uvicorn

    from amir.config import IntensityScale, ServeSettings
    from amir.inference.engine.local import LocalEngine
    from amir.inference.engine.served_model import ServedModel
    from amir.inference.engine.served_models import ServedModels
    from amir.inference.engine.slices import ModelDescription
    from amir.inference.network_runner import NetworkRunner
    from serve.http_app import create_app

    torch.manual_seed(0)
    network = Blur(seconds).eval()
    count = sum(weights.numel() for weights in network.parameters())
    description = ModelDescription("5a" * 32, "champion", "blur", "blur", IntensityScale(), count)
    models = ServedModels()
    models.assign("champion", ServedModel(NetworkRunner(network), description))
    chosen = ServeSettings.model_validate(settings)
    engine = LocalEngine(models, chosen.engine)
    app = create_app(chosen, engine)
    server = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=port, http="h11", log_level="warning", access_log=False
        )
    )
    try:
        await server.serve()
    finally:
        engine.close()


def main() -> None:
    torch.set_num_threads(1)
    asyncio.run(_serve(**json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
