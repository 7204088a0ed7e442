"""What the service costs beside the network alone: throughput, latency against clients, overhead.

    PYTHONPATH=platform python -m benchmarks.serve [--network small|published] [--seconds 20]
        [--clients 1 2 4 8 16] [--size 256] [--json] [--plot serve.png]

The bare loop, the server and the load share this machine's cores. The loop is a process that stands
still meanwhile, with the threads and the environment of the engine's replica. The load comes from
wrk (Debian's package): one thread in C takes next to nothing from the server, and it reports
percentiles over all requests rather than a mean of means. Goals: at saturation 0.95 of the bare
loop's slices per second with the published network, 0.70 with the small one; 10 ms of our own for a
CT slice of 512 x 512; 1.3 times an application of the same hops that gives every body back.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from amir import checkpoint
from amir.checkpoint import Checkpoint
from amir.config import ReplicaSettings
from amir.inference.restorer import Restorer
from amir.modality import Modality
from benchmarks.echo_service import echo_application
from benchmarks.measures import Line, table
from benchmarks.ray_service import RayService, ray_service, save_network
from serve.engine.deployment import thread_environment

SMALL = {"dim": 8, "blocks": (1, 1, 1, 1), "refinement_blocks": 1, "heads": (1, 1, 2, 2)}
NETWORKS: dict[str, dict[str, Any]] = {"small": SMALL, "published": {"dim": 42}}
CORES = 2
ROUNDS = 30
LONGEST = 20.0  # seconds of them together
SATURATED = 4  # clients and more
# wrk's script: the same body every time; percentiles and errors as one line of JSON.
SCRIPT = """
local file = io.open("{body}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "application/x-npy"
function done(summary, latency)
  local errors = summary.errors
  local form = '{{"requests": %d, "seconds": %f, "p50": %f, "p95": %f, "p99": %f, "errors": %d}}'
  print(string.format(form,
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", choices=NETWORKS, default="small")
    parser.add_argument("--seconds", type=int, default=20, help="of each load")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--size", type=int, default=256, help="of a slice's sides")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="amir-benchmark-") as folder:
        lines = list(measured(Path(folder), chosen))
    print(table(lines))
    if chosen.json:
        print(json.dumps({line.name: line.value for line in lines}))
    if chosen.plot:
        plot(lines, chosen.clients, chosen.plot)


def measured(folder: Path, chosen: argparse.Namespace) -> Iterator[Line]:
    saved = save_network(folder / "model", **NETWORKS[chosen.network])
    size = chosen.size
    slices = np.random.default_rng(0).uniform(-1000, 2000, (1, size, size)).astype(np.float32)
    np.save(folder / "body.npy", slices)
    engine = {
        "warm_up": [[size, size]],
        "batch": {"queue_seconds": 600},  # clients wait, however many they are
        "replica": {"cpus": CORES, "ongoing_requests": 256},
    }
    models = {"champion": str(saved.folder)}
    limits = {"concurrent": 256, "decode_processes": 1}
    with (
        bare_loop(saved, slices) as bare,
        ray_service(folder, models=models, engine=engine, limits=limits) as service,
    ):
        alone, ratios = [bare(chosen.seconds / 2)], []
        address = f"{service.url}/v1/restore?modality=CT"
        load(folder, address, clients=1, seconds=3)  # warm
        for clients in chosen.clients:
            found = load(folder, address, clients=clients, seconds=chosen.seconds)
            yield from curve(clients, found)
            # Before and after each load: whatever else the machine does, it does to both.
            alone.append(bare(chosen.seconds / 2))
            if clients >= SATURATED:
                rate = found["requests"] / found["seconds"]
                ratios.append(rate / statistics.mean(alone[-2:]))
        yield Line("bare", f"bare loop, {size} x {size}", statistics.median(alone), "slices/s")
        yield Line("ratio", "at saturation, of the bare loop", statistics.median(ratios), "x")
        yield from beside_echo(service, slices)


@contextmanager
def bare_loop(saved: Checkpoint, slices: np.ndarray) -> Iterator[Callable[[float], float]]:
    """In a process of its own: for so many seconds, slices per second of the network alone."""
    environment = thread_environment(ReplicaSettings(cpus=CORES))
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        ask = partial(process.submit, _restored_per_second, saved.folder, slices)
        ask(1.0).result()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        yield lambda seconds: ask(seconds).result()


@cache
def _restorer(folder: Path) -> Restorer:
    torch.set_num_threads(CORES)
    return Restorer.of(checkpoint.load(folder))


def _restored_per_second(folder: Path, slices: np.ndarray, seconds: float) -> float:
    restorer = _restorer(folder)
    restorer.restore_slices(slices, Modality.CT)
    start, count = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        restorer.restore_slices(slices, Modality.CT)
        count += len(slices)
    return count / (time.perf_counter() - start)


def load(folder: Path, address: str, *, clients: int, seconds: int) -> dict[str, float]:
    """What wrk's script prints of a load by so many clients, each sending when it is answered."""
    script = folder / "post.lua"
    script.write_text(SCRIPT.format(body=folder / "body.npy"))
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "120s", "-s", script]
    done = subprocess.run([*map(str, command), address], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def curve(clients: int, found: dict[str, float]) -> Iterator[Line]:
    name, what = f"clients/{clients}", f"{clients} clients"
    yield Line(f"{name}/rate", what, found["requests"] / found["seconds"], "slices/s")
    for percentile in ("p50", "p95", "p99"):
        yield Line(f"{name}/{percentile}", f"{what}: {percentile}", found[percentile], "ms")
    yield Line(f"{name}/errors", f"{what}: errors", found["errors"], "")


def beside_echo(service: RayService, slices: np.ndarray) -> Iterator[Line]:
    """One client, by turns: the service, and an application that gives the body back."""
    from ray import serve

    serve.run(echo_application(), name="echo", route_prefix="/echo")
    body = io.BytesIO()
    np.save(body, slices)
    with httpx.Client(base_url=service.url, timeout=120) as client:
        restore, echo, forward = [], [], []
        end = time.perf_counter() + LONGEST
        while len(echo) < ROUNDS and time.perf_counter() < end:
            start = time.perf_counter()
            client.post("/echo", content=body.getvalue()).raise_for_status()
            echo.append(time.perf_counter() - start)
            start = time.perf_counter()
            report = client.post("/v1/restore?modality=CT&report=1", content=body.getvalue())
            report.raise_for_status()
            restore.append(time.perf_counter() - start)
            forward.append(report_of(report)["seconds"]["forward"])
    seconds = [statistics.median(times) for times in (restore, echo, forward)]
    yield Line("request", "one client: whole request", 1e3 * seconds[0], "ms")
    yield Line("echo", "one client: same hops and body, given back", 1e3 * seconds[1], "ms")
    yield Line("forward", "one client: the network", 1e3 * seconds[2], "ms")
    ours = statistics.median(np.subtract(np.subtract(restore, forward), echo))
    yield Line("ours", "one client: our own share (request - network - echo)", 1e3 * ours, "ms")
    ratio = seconds[0] / (seconds[1] + seconds[2])
    yield Line("hops", "whole request, of echo and network", ratio, "x")


def report_of(answer: httpx.Response) -> dict[str, Any]:
    """The JSON part of a multipart answer, which comes first."""
    start = answer.content.index(b"{")
    report: dict[str, Any] = json.JSONDecoder().raw_decode(
        answer.content[start : start + 2**16].decode(errors="replace")
    )[0]
    return report


def plot(lines: Sequence[Line], clients: Sequence[int], path: Path) -> None:
    from matplotlib.figure import Figure

    values = {line.name: line.value for line in lines}
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    rate, latency = figure.subplots(1, 2)
    rate.plot(clients, [values[f"clients/{n}/rate"] for n in clients], "o-", label="service")
    rate.axhline(values["bare"], color="grey", linestyle="--", label="bare loop")
    rate.set(xlabel="clients", ylabel="slices per second", ylim=(0, None))
    for percentile in ("p50", "p95", "p99"):
        latency.plot(
            clients, [values[f"clients/{n}/{percentile}"] for n in clients], "o-", label=percentile
        )
    latency.set(xlabel="clients", ylabel="milliseconds", ylim=(0, None))
    for axes in (rate, latency):
        axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
