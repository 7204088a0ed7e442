"""How long PSNR, SSIM, RMSE and the further metrics of stored slices take, and how much memory.

    python benchmarks/scoring.py [--slices 10000] [--size 256] [--workers 2] [--json]

Writes a dataset of random slices and their restored twins below --folder (4 GB for 10,000 slices),
scores them from there, reading included, and removes them. Beside it, one slice's SSIM by other
means. Goal: at most 90 s for 10,000 slices of 256 x 256 on two cores, memory flat.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from amir.config import IntensityScale
from amir.dataset.manifest import ShardEntry, make_manifest, write_manifest
from amir.dataset.schema import pack
from amir.dataset.shard import write_shard
from amir.dataset.slices import read_shard
from amir.evaluation.stored import restored_file, score_stored
from amir.metrics import WINDOW_SIGMA, score_slice, ssim
from amir.modality import Modality

SLICES_PER_SCAN = 100
Image = NDArray[np.float32]


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        data, restored = Path(folder, "data"), Path(folder, "restored")
        write(data, restored, slices=options.slices, size=options.size)
        figures = measure(data, restored, slices=options.slices, workers=options.workers)
    figures |= {"ssim_ms": ways(options.size), "size": options.size, "workers": options.workers}
    figures |= {"cores": os.cpu_count(), "torch": torch.__version__}
    sys.stdout.write(json.dumps(figures, indent=1) if options.json else table(figures))
    sys.stdout.write("\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slices", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to write; default the temporary folder")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser.parse_args()


def write(data: Path, restored: Path, *, slices: int, size: int) -> None:
    """A dataset of one test split, and restored slices that differ from its targets by noise."""
    generator = np.random.default_rng(0)
    entries = []
    for number, first in enumerate(range(0, slices, SLICES_PER_SCAN)):
        count = min(SLICES_PER_SCAN, slices - first)
        entry = ShardEntry(
            file=f"test/{number:05d}.parquet",
            patient_id=f"patient-{number}",
            scan_id=f"{number:016x}",
            modality=Modality.MRI,
            rows=count,
            sha256=f"{number:064x}",
            voxels=count * size * size,
            clipped=0,
            parameters={},
        )
        write_shard(data / entry.file, rows(entry, size, generator))
        write_restored(data, restored, entry, generator)
        entries.append(entry)
    manifest = make_manifest(
        settings={},
        intensity=IntensityScale(),
        shards={"train": [], "validation": [], "test": entries},
        refused=[],
        ranges={},
        versions={},
    )
    write_manifest(data, manifest)


def rows(entry: ShardEntry, size: int, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    for index in range(entry.rows):
        target, dtype = pack(generator.integers(0, 4096, (size, size)).astype(np.float32))
        yield {
            "patient_id": entry.patient_id,
            "scan_id": entry.scan_id,
            "modality": str(entry.modality),
            "slice_index": index,
            "plane": "axial",
            "height": size,
            "width": size,
            "spacing_mm": [1.0, 1.0],
            "unit": "a.u.",
            "intensity_scale": 1.0,
            "target": target,
            "target_dtype": dtype,
            "degraded": target,
            "degraded_dtype": dtype,
            "degradation": "",
        }


def write_restored(
    data: Path, restored: Path, entry: ShardEntry, generator: np.random.Generator
) -> None:
    with restored_file(restored / entry.file) as keep:
        for pair in read_shard(data, entry):
            noise = generator.standard_normal(pair.target.shape, np.float32)
            keep([pair], [pair.target + 100 * noise])


def measure(data: Path, restored: Path, *, slices: int, workers: int) -> dict[str, Any]:
    """Seconds for all slices, and resident memory over the time that took."""
    torch.set_num_threads(1)
    memory, finished = [], threading.Event()

    def watch() -> None:
        while not finished.wait(0.2):
            memory.append(resident_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    scores = score_stored(data, restored, workers=workers)
    seconds = time.perf_counter() - start
    finished.set()
    watcher.join()
    assert scores.num_rows == slices
    early, late = memory[: len(memory) // 5 or 1], memory[-len(memory) // 5 :] or memory
    return {
        "slices": slices,
        "seconds": seconds,
        "ms_per_slice": 1000 * seconds / slices,
        "memory_mb_first_fifth": max(early, default=0.0),
        "memory_mb_last_fifth": max(late, default=0.0),
    }


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def ways(size: int) -> dict[str, float]:
    """Milliseconds for the SSIM of one slice, median of ten, by different means of blurring."""
    generator = np.random.default_rng(0)
    target = generator.uniform(0, 4095, (size, size))
    restored = target + generator.normal(0, 100, target.shape)
    blurs = {"torch conv2d": conv2d, "scipy separable": separable, "banded products": banded(size)}
    timed = {"this library": milliseconds(lambda: ssim(restored, target, 4095.0))}
    expected = ssim(restored, target, 4095.0)
    for name, blur in blurs.items():
        found = plain_ssim(restored, target, 4095.0, blur)
        assert math.isclose(found, expected, abs_tol=1e-9), name
        timed[name] = milliseconds(lambda blur=blur: plain_ssim(restored, target, 4095.0, blur))
    single = restored.astype(np.float32), target.astype(np.float32)
    timed["all of score_slice"] = milliseconds(lambda: score_slice(*single, Modality.MRI))
    return timed


def plain_ssim(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    data_range: float,
    blur: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> float:
    """SSIM by its formula."""
    mean_x, mean_y, xx, yy, xy = map(blur, (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
    return float((luminance * contrast).mean())


WEIGHTS = np.exp(-(np.arange(-5, 6) ** 2) / (2 * WINDOW_SIGMA**2))
WEIGHTS /= WEIGHTS.sum()
WINDOW = torch.from_numpy(np.outer(WEIGHTS, WEIGHTS))[None, None]


def conv2d(image: NDArray[np.float64]) -> NDArray[np.float64]:
    tensor = torch.from_numpy(image)[None, None]
    blurred: NDArray[np.float64] = torch.nn.functional.conv2d(tensor, WINDOW, padding=5).numpy()
    return blurred[0, 0]


def separable(image: NDArray[np.float64]) -> NDArray[np.float64]:
    for axis in (0, 1):
        image = correlate1d(image, WEIGHTS, axis=axis, mode="constant")
    return image


def banded(size: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    matrix = sum(
        np.diag(np.full(size - abs(offset), weight), offset)
        for offset, weight in zip(range(-5, 6), WEIGHTS, strict=True)
    )
    return lambda image: matrix @ image @ matrix


def milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(11):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def table(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['slices']} slices of {figures['size']} x {figures['size']}, reading included, "
        f"{figures['workers']} threads on {figures['cores']} cores, torch {figures['torch']}:",
        "",
        "| what | value |",
        "| --- | --- |",
        f"| all slices | {figures['seconds']:.1f} s |",
        f"| a slice | {figures['ms_per_slice']:.2f} ms |",
        f"| memory, first fifth | {figures['memory_mb_first_fifth']:.0f} MB |",
        f"| memory, last fifth | {figures['memory_mb_last_fifth']:.0f} MB |",
    ]
    lines += [f"| SSIM of a slice, {way} | {ms:.1f} ms |" for way, ms in figures["ssim_ms"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
