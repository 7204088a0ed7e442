"""What tiles and bfloat16 change in the restored slices: PSNR against whole slices in float32.

    python benchmarks/inexact.py --model RUN --input SCAN [--storage storage] [--slices 3] [--json]

Whole slices of a scan are restored in one piece, then in tiles of a quarter and of a sixteenth of
their pixels with several overlaps, then in bfloat16. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measures import Line, table

from amir.config import TileSettings
from amir.imaging import read_scan
from amir.inference.network_runner import NetworkRunner
from amir.inference.normalising import to_network
from amir.inference.scan_restoration import cut_scan
from amir.references import find_model

OVERLAPS = (16, 32, 64)
WHOLE = TileSettings(pixels=2**30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="reference of a trained model")
    parser.add_argument("--input", required=True, type=Path, help="a scan with large slices")
    parser.add_argument("--storage", type=Path, default=Path("storage"))
    parser.add_argument("--slices", type=int, default=3, help="spread over the scan")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    lines = list(measured(chosen.model, chosen.storage, chosen.input, chosen.slices))
    print(table(lines))
    if chosen.json:
        print(json.dumps({line.name: line.value for line in lines}))


def measured(model: str, storage: Path, scan: Path, slices: int) -> Iterator[Line]:
    found = find_model(model, storage=storage)
    cut = cut_scan(read_scan(scan), found.intensity)
    chosen = np.linspace(0, len(cut.slices) - 1, slices + 2).astype(int)[1:-1]
    images = to_network(cut.slices[chosen], cut.scan.modality, scale=cut.scale)
    whole = NetworkRunner(found.network(), tile=WHOLE).run(images).images
    pixels = images[0].size
    for part in (4, 16):
        for overlap in OVERLAPS:
            if (2 * overlap) ** 2 > pixels // part:
                continue
            for passes in (0, 1, 2) if overlap == 64 else (1,):
                tile = TileSettings(pixels=pixels // part, overlap=overlap, passes=passes)
                tiled = NetworkRunner(found.network(), tile=tile).run(images).images
                yield from compared(f"tiles/{part}/{overlap}/{passes}", whole, tiled)
    halved = NetworkRunner(found.network(), tile=WHOLE, precision="bfloat16").run(images).images
    yield from compared("bfloat16", whole, halved)
    yield from compared("input", whole, images)


def compared(name: str, whole: np.ndarray, other: np.ndarray) -> Iterator[Line]:
    """Lowest PSNR of a slice (data range: that slice's), largest difference in 0..1."""
    errors = np.sqrt(np.square(whole - other).mean(axis=(1, 2), dtype=np.float64))
    psnr = 20 * np.log10(np.ptp(whole, axis=(1, 2)) / np.maximum(errors, 1e-12))
    yield Line(f"{name}/psnr", f"{name}: lowest PSNR of a slice", float(psnr.min()), "dB")
    difference = float(np.abs(whole - other).max())
    yield Line(f"{name}/largest", f"{name}: largest difference", difference, "of the range")


if __name__ == "__main__":
    main()
