"""How training scales over workers, what they spend on exchanging gradients, what parts cost.

    PYTHONPATH=platform python -m benchmarks.scaling [--only workers nodes parts saving]

workers: 1, 2 and 4 processes of one thread share a batch, as DDP on gloo, without Ray; a step alone
is that of the same shares at the same time, but each process by itself: what is more is exchange,
and waiting for the slowest. nodes: the job's own path on Ray, two workers on one node and on two
simulated ones. parts: how far the gradient of a batch that is run in parts (accumulate) is off.
saving: how long a training of the published size stands still for a checkpoint.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from amir import checkpoint
from amir.config import IntensityScale, OptimizerSettings, TrainSettings
from amir.dataset.manifest import read_manifest
from amir.dataset.plan import Plan
from amir.dataset.reader import Reader, build_index
from amir.modality import Modality
from amir.models.registry import build_model
from amir.training.background import Background
from amir.training.optimizer import build_optimizers
from amir.training.run_folder import RunFolder
from amir.training.saving import save_checkpoint
from amir.training.state import training_state
from amir.training.step import Crops, Objective, to_crops, train_step
from benchmarks.measures import cpu_name

SMALL: dict[str, Any] = {
    "dim": 8,
    "blocks": (1, 1, 1, 1),
    "refinement_blocks": 1,
    "heads": (1, 1, 2, 2),
    "gate_noise": False,
}
BATCH, SIDE = 8, 64
COUNTS = (1, 2, 4)


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    say(f"{cpu_name()}, {os.cpu_count()} cores, torch {torch.__version__}")
    for name in options.only:
        for line in SECTIONS[name](options.steps):
            say(line)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--steps", type=int, default=20, help="of each measurement")
    return parser.parse_args()


# --- workers -----------------------------------------------------------------------------------


def over_workers(steps: int) -> Iterator[str]:
    """Seconds of a step by the number of workers."""
    weights = sum(p.numel() for p in build_model("amir", **SMALL).parameters())
    yield ""
    network = f"{weights:,} parameters, {4 * weights / 1e6:.2f} MB of gradients"
    yield f"batch {BATCH} of {SIDE} x {SIDE} crops, {network}"
    yield "| workers | s a step | alone | exchange | crops/s | times one | of the cores |"
    yield "|---:|---:|---:|---:|---:|---:|---:|"
    first = 0.0
    for count in COUNTS:
        together, alone = seconds_of(count, steps)
        first = first or together
        gain = first / together
        share, cores = 1 - alone / together, min(count, os.cpu_count() or 1)
        yield (
            f"| {count} | {together:.3f} | {alone:.3f} | {share:.0%} | {BATCH / together:.1f} | "
            f"{gain:.2f} | {gain / cores:.0%} |"
        )


def seconds_of(workers: int, steps: int) -> tuple[float, float]:
    """A step's median seconds together and alone; of the slowest worker."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_worker, (workers, steps, folder), workers)
        found = [torch.load(Path(folder, f"{rank}.pt")) for rank in range(workers)]
    return max(one for one, _ in found), max(other for _, other in found)


def _worker(rank: int, workers: int, steps: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build_model("amir", **SMALL).train()
    images = torch.rand(2, BATCH // workers, 1, SIDE, SIDE)
    alone = timed(model, images, steps)
    if workers > 1:
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder}/rendezvous",
            rank=rank,
            world_size=workers,
            timeout=timedelta(seconds=120),
        )
    together = timed(DistributedDataParallel(model), images, steps) if workers > 1 else alone
    torch.save((together, alone), Path(folder, f"{rank}.pt"))
    if workers > 1:
        torch.distributed.destroy_process_group()


def timed(network: nn.Module, images: Tensor, steps: int) -> float:
    """Median seconds of a step: forward, backward, exchange, update."""
    count = images.shape[1]
    crops = Crops(images[0], images[1], images[0] > -1, torch.arange(count) % 3)
    optimizers = build_optimizers(getattr(network, "module", network), OptimizerSettings())
    seconds = []
    for _ in range(3 + steps):
        start = time.perf_counter()
        train_step(network, crops, optimizers, Objective(0.001))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[3:])


# --- nodes -------------------------------------------------------------------------------------


def over_nodes(steps: int) -> Iterator[str]:
    """Crops a second of the job's own path, on one node and on two that this machine plays."""
    from benchmarks.small_training import prepare_environment, workplace

    prepare_environment()
    yield ""
    yield "| on Ray | crops/s | of these seconds waiting for data |"
    yield "|---|---:|---:|"
    with workplace() as place:
        rows = [_on_nodes(place, nodes, count, steps) for nodes, count in ((1, 1), (1, 2), (2, 2))]
    yield from rows


def _on_nodes(place: Path, nodes: int, workers: int, steps: int) -> str:
    import ray
    from ray.cluster_utils import Cluster

    from amir.training.ray_trainer import run
    from benchmarks.small_training import patiently

    cpus = 2 * workers // nodes
    node = {"num_cpus": cpus, "object_store_memory": 100_000_000}
    sockets = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    cluster = Cluster()

    def start() -> None:
        cluster.add_node(num_cpus=0, include_dashboard=False, temp_dir=sockets)
        for _ in range(nodes):
            cluster.add_node(**node)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")

    try:
        patiently(start, ray.shutdown)
        folder = run(_settings(place, f"{nodes}-{workers}", workers, steps)).folder
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(sockets, ignore_errors=True)
    rows = [row for row in folder.rows() if "train/samples_per_second" in row][5:]
    rate = BATCH / statistics.median(BATCH / row["train/samples_per_second"] for row in rows)
    waiting = statistics.mean(row["train/data_wait"] for row in rows)
    return f"| {workers} workers on {nodes} nodes | {rate:.1f} | {waiting:.1%} |"


def _settings(place: Path, name: str, workers: int, steps: int) -> TrainSettings:
    from benchmarks.small_training import small_settings

    return small_settings(
        place,
        name,
        steps=5 + 2 * steps,
        batch=BATCH,
        model=SMALL,
        **{"data.crop": 48, "workers.count": workers, "workers.cpus": 1.5, "workers.threads": 1},
    )


# --- parts -------------------------------------------------------------------------------------


def in_parts(steps: int) -> Iterator[str]:
    """The gradient of a batch run in parts, against that of the whole batch; over ten batches of
    phantoms' slices, of all tasks.
    """
    from benchmarks.small_training import workplace

    with workplace() as place:
        index = build_index(read_manifest(place / "data"), "train", tuple(Modality))
        reader = Reader(place / "data", Plan(index, 0, BATCH), crop=48)
        batches = [to_crops(b, torch.device("cpu")) for b in reader.batches(0, 10)]
    yield ""
    yield "| accumulate | L1: gradient off | with balance, 0.001 | with 0.1 | balance loss |"
    yield "|---:|---:|---:|---:|---:|"
    for parts in (2, 4, 8):
        off = [_off(parts, crops) for crops in batches]
        exact, little, much, ratio = map(statistics.median, zip(*off, strict=True))
        yield f"| {parts} | {exact:.1e} | {little:.1e} | {much:.1e} | times {ratio:.2f} |"


def _off(parts: int, crops: Crops) -> tuple[float, float, float, float]:
    """Of a new network: the gradients' relative distances by weight, and the balance losses'
    ratio.
    """
    torch.manual_seed(0)
    model = build_model("amir", **SMALL).train()
    distances = []
    for weight in (0.0, 0.001, 0.1):
        whole, balance = _gradient(model, crops, 1, weight)
        split, balances = _gradient(model, crops, parts, weight)
        distances.append(((split - whole).norm() / whole.norm()).item())
    return distances[0], distances[1], distances[2], balances / balance


def _gradient(model: nn.Module, crops: Crops, parts: int, weight: float) -> tuple[Tensor, float]:
    """As the trainer's step makes it; and its balance loss."""
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    step = train_step(model, crops, [still], Objective(weight, accumulate=parts))
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat(gradients), step.losses.balance.item()


# --- saving ------------------------------------------------------------------------------------


def saving(steps: int) -> Iterator[str]:
    """Seconds that a training of the published size waits for a checkpoint, and its bytes."""
    settings = TrainSettings.model_validate({"data": {"path": "nowhere"}})
    model = build_model("amir", **settings.model.network())
    state = training_state(settings, model, model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimizers[0].step()
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        waiting = [_seconds(lambda: _save(state, folder, None)) for _ in range(3)]
        with Background() as background:
            beside = [_seconds(lambda: _save(state, folder, background))]
            background.start(lambda: None)  # waits for the last
            beside.append(_seconds(lambda: _save(state, folder, background)))
        size = sum(f.stat().st_size for f in (folder.checkpoints / str(state.step)).iterdir())
    yield ""
    yield (
        f"a checkpoint of the published size, {size / 1e6:.0f} MB: training waits "
        f"{statistics.median(waiting):.2f} s, or {min(beside):.2f} s with checkpoints.background"
    )


def _save(state: Any, folder: RunFolder, background: Background | None) -> None:
    state.step += 1
    settings = checkpoint.describe(
        "amir",
        {},
        intensity=IntensityScale(),
        dataset_digest="00" * 32,
        code_version="benchmark",
        step=state.step,
    )
    save_checkpoint(
        state, folder, settings=settings, scores={}, workers=1, keep=1, background=background
    )


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


SECTIONS: dict[str, Callable[[int], Iterator[str]]] = {
    "workers": over_workers,
    "nodes": over_nodes,
    "parts": in_parts,
    "saving": saving,
}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
