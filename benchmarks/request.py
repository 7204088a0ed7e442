"""What the service adds to one request: a CT slice of 512 x 512 as DICOM, beside an echo.

PYTHONPATH=platform:. python -m benchmarks.request [REQUESTS]. Prints medians over the requests, one
client, one at a time: the stages of the service's own report, the whole request, and that of a
Serve application with the same hops and body (HTTP replica -> handle -> replica, a float32 slice
each way) that does nothing, with the seconds of our forward added. Both take turns in one run.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI, Request, Response
from ray import serve
from ray.serve.handle import DeploymentHandle

from amir import checkpoint, cluster
from amir.config import IntensityScale, ServeSettings
from amir.imaging import Scan, write_new_series
from amir.modality import Modality
from amir.models.registry import build_model
from serve.app import build_app

SIZE = 512
PORT = 8765
TINY = {"dim": 4, "blocks": (1,) * 4, "refinement_blocks": 1, "heads": (1,) * 4, "instructions": 4}


@serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 0.1})
class Echo:
    async def restore(self, slices: np.ndarray) -> np.ndarray:
        return slices


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.1})
@serve.ingress()
class EchoIngress:
    def __init__(self, inner: DeploymentHandle) -> None:
        self.inner = inner

    def __serve_build_asgi_app__(self) -> FastAPI:
        app, slices = FastAPI(), np.zeros((1, SIZE, SIZE), np.float32)

        @app.post("/restore")
        async def restore(request: Request) -> Response:
            body = await request.body()
            await self.inner.restore.remote(slices)
            return Response(body)

        return app


def main(requests: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        body, settings = dicom_slice(Path(folder)), service_settings(Path(folder))
        cluster.connect()
        serve.start(http_options={"host": "127.0.0.1", "port": PORT})
        serve.run(build_app(settings), name="amir", route_prefix="/")
        serve.run(EchoIngress.bind(Echo.bind()), name="echo", route_prefix="/echo")
        try:
            print(json.dumps(compare(body, requests), indent=2))
        finally:
            serve.shutdown()


def compare(body: bytes, requests: int) -> dict[str, Any]:
    """Seconds: medians."""
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as client:

        def ours() -> httpx.Response:
            return client.post("/v1/restore?report=1", content=body)

        def echo() -> httpx.Response:
            return client.post("/echo/restore", content=body)

        for _ in range(5):
            timed(ours), timed(echo)
        pairs = [(timed(ours), timed(echo)) for _ in range(requests)]
    reports = [report_of(answer) for (_, answer), _ in pairs]
    stages = {s: statistics.median(r["seconds"][s] for r in reports) for s in reports[0]["seconds"]}
    whole = statistics.median(seconds for (seconds, _), _ in pairs)
    plain = statistics.median(seconds for _, (seconds, _) in pairs)
    return {
        "requests": requests,
        "stages": stages,
        "own (read with checks, write)": stages["read"] + stages["write"],
        "own and receiving": stages["receive"] + stages["read"] + stages["write"],
        "whole request": whole,
        "echo": plain,
        "echo and forward": plain + stages["forward"],
        "ratio": whole / (plain + stages["forward"]),
        "ratio without the network": (whole - stages["forward"]) / plain,
    }


def timed(ask: Callable[[], httpx.Response]) -> tuple[float, httpx.Response]:
    start = time.perf_counter()
    answer = ask().raise_for_status()
    return time.perf_counter() - start, answer


def report_of(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.content.split(b"\r\n\r\n")[1].split(b"\r\n--")[0])
    return found


def dicom_slice(folder: Path) -> bytes:
    noise = np.random.default_rng(0).normal(0, 100, (SIZE, SIZE, 1)).round().clip(-1000, 1000)
    scan = Scan(noise.astype(np.float32), np.diag([0.7, 0.7, 3, 1]), Modality.CT, "HU")
    write_new_series(scan, folder / "series", patient_id="benchmark")
    return next((folder / "series").iterdir()).read_bytes()


def service_settings(folder: Path) -> ServeSettings:
    """A network whose forward is short, so that the rest shows; no tokens, on loopback."""
    settings = checkpoint.describe(
        "amir", TINY, intensity=IntensityScale(), dataset_digest="0" * 64, code_version="", step=1
    )
    weights = build_model("amir", **TINY).state_dict()
    checkpoint.save(folder / "model", weights=weights, settings=settings, scores={}, state=None)
    tree = {
        "models": {"champion": str(folder / "model")},
        "storage": folder / "storage",
        "tracking": {"uri": "none"},
        "tokens": {"required": False},
        "rate": {"requests_per_minute": 1e6, "burst": 10_000},
        "http": {"port": PORT},
    }
    return ServeSettings.model_validate(tree)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
