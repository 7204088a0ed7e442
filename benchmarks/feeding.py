"""The feed of a trainer: its speed, its cost while it waits, its memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from loaders import loaded, loaded_blocks
from measures import Line, cpu_seconds, resident_megabytes
from noise_shards import write_dataset

from amir import cluster
from amir.config import ModelSettings, OptimizerSettings
from amir.dataset.loading import ray_batches
from amir.dataset.manifest import read_manifest
from amir.dataset.plan import Plan
from amir.dataset.reader import Batch, Reader, build_index
from amir.modality import Modality
from amir.models.registry import build_model
from amir.training.optimizer import build_optimizers
from amir.training.step import Objective, to_crops, train_step

BATCH = 32
CROP = 128
STEPS = 100_000  # more than are taken
SIZES = {Modality.MRI: (256, 256), Modality.CT: (512, 512), Modality.PET: (192, 400)}


def feeding(folder: Path, quick: bool) -> Iterator[Line]:
    """Crop pairs per second after the first batch; nothing else is done with them."""
    scans, rows, seconds = (3, 16, 0.5) if quick else (24, 100, 12)
    write_dataset(folder, scans, rows, SIZES)
    plain = partial(loaded, folder, batch=BATCH, crop=CROP)
    blocks = partial(loaded_blocks, new_reader(folder), STEPS)
    feeds = {f"loader/{n}": partial(plain, n) for n in (0, 1, 2)}
    feeds |= {f"block-loader/{n}": partial(blocks, n) for n in (0, 1, 2)}
    feeds |= {f"ray/{n}": partial(fed, folder, actors=n) for n in (1, 2)}
    names = {
        "loader": "DataLoader, cached row groups, {} workers",
        "block-loader": "DataLoader around the platform's reader, {} workers",
        "ray": "Ray Data feed, {} actors",
    }
    for name, start in feeds.items():
        if name == "ray/1":
            cluster.connect()
        with closing(start()) as batches:
            first, rate = measured(batches, seconds)
        kind, number = name.split("/")
        what = names[kind].format(number)
        yield Line(f"feed/{name}", f"{what}: {CROP} x {CROP} pairs", rate, "pairs/s")
        yield Line(f"feed/{name}/first", f"{what}: first batch", first, "s")


def measured(batches: Iterator[Any], seconds: float) -> tuple[float, float]:
    """Seconds to the first batch; pairs per second from there on, for so many seconds."""
    start = time.perf_counter()
    next(batches)
    first = now = time.perf_counter()
    count = 0
    while now < first + seconds:
        next(batches)
        count, now = count + BATCH, time.perf_counter()
    return first - start, count / (now - first)


def new_reader(folder: Path, batch: int = BATCH, crop: int = CROP) -> Reader:
    index = build_index(read_manifest(folder), "train", tuple(Modality))
    return Reader(folder, Plan(index, 1, batch), crop=crop)


def fed(folder: Path, *, actors: int) -> Iterator[Batch]:
    return ray_batches(new_reader(folder), 0, STEPS, rank=0, workers=1, actors=actors)


def idle(folder: Path, quick: bool) -> Iterator[Line]:
    """A training step beside the feed and on a batch in memory; what a feed costs that waits."""
    cluster.connect()
    scans, rows, steps, rest = (3, 16, 4, 1) if quick else (24, 100, 60, 15)
    write_dataset(folder, scans, rows, SIZES)
    reader = new_reader(folder, batch=4)
    step = Step(dim=4 if quick else 12)
    alone = step.seconds(repeat(reader.make(0, 1)), steps)
    feed = ray_batches(reader, 0, STEPS, rank=0, workers=1)
    next(feed)
    time.sleep(rest)  # until it has read ahead as far as it may
    beside = step.seconds(feed, steps)
    yield Line("step/constant", "training step on a batch in memory", alone, "s")
    yield Line("step/fed", "training step beside the feed", beside, "s")
    yield Line("idle/feed", "all processes, a feed that waits", cores_used(rest), "cores")
    feed.close()
    time.sleep(rest / 5)
    yield Line("idle/ray", "all processes, Ray without a feed", cores_used(rest), "cores")


class Step:
    """A training step of a small network, on one thread."""

    def __init__(self, dim: int) -> None:
        torch.set_num_threads(1)
        blocks = heads = (1, 1, 1, 1)
        settings = ModelSettings(dim=dim, blocks=blocks, refinement_blocks=1, heads=heads)
        self.model = build_model(settings.name, **settings.network())
        self.optimizers = build_optimizers(self.model, OptimizerSettings())

    def seconds(self, batches: Iterable[Batch], steps: int) -> float:
        """Of one step on average, two for warming up left out."""
        for number, batch in zip(range(-2, steps), batches, strict=False):
            if number == 0:
                start = time.perf_counter()
            crops = to_crops(batch, torch.device("cpu"))
            train_step(self.model, crops, self.optimizers, Objective(0.001))
        return (time.perf_counter() - start) / steps


def cores_used(seconds: float) -> float:
    """By this process and all that it started."""
    before, start = cpu_seconds(), time.perf_counter()
    time.sleep(seconds)
    return (cpu_seconds() - before) / (time.perf_counter() - start)


def memory(folder: Path, quick: bool) -> Iterator[Line]:
    """Peak of the proportional set size of all processes over one feed."""
    cluster.connect()
    for slices in (300, 600, 900) if quick else (1000, 10_000, 50_000):
        place = folder / str(slices)
        write_dataset(place, slices // 100, 100, dict.fromkeys(Modality, (64, 64)))
        reader, peak = new_reader(place, crop=64), 0.0
        start = time.perf_counter()
        for step, _ in enumerate(ray_batches(reader, 0, 2 * slices // BATCH, rank=0, workers=1)):
            if step == 0:
                first = time.perf_counter() - start
            if step % 50 == 0:
                peak = max(peak, resident_megabytes())
        what = f"feeding {slices} slices of 64 x 64 twice"
        yield Line(f"memory/{slices}", f"{what}: memory of all processes", peak, "MB")
        yield Line(f"memory/{slices}/first", f"{what}: first batch", first, "s")
