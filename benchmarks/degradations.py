"""Seconds per slice of each simulated degradation: python benchmarks/degradations.py.

One process; NumPy and SciPy use one core here. Slices are phantoms at full size.
"""

import time
from collections.abc import Iterator
from typing import Any

from amir.degradations.by_modality import DEGRADATIONS
from amir.imaging import to_plane
from amir.modality import Modality
from amir.phantoms import phantom_scan

# Modality, pixels along a side, slices, settings beside the defaults.
CASES: list[tuple[Modality, int, int, dict[str, Any]]] = [
    (Modality.MRI, 256, 20, {}),
    (Modality.MRI, 256, 20, {"noise": 0.02}),
    (Modality.CT, 512, 3, {"photons": 1e6}),
    (Modality.CT, 512, 3, {}),
    (Modality.CT, 512, 3, {"photons": 1e6, "geometry": "fan"}),
    (Modality.PET, 128, 222, {}),
    (Modality.PET, 128, 222, {"attenuation": "water", "background": 0.3}),
]


def rows() -> Iterator[str]:
    """A table row per case."""
    yield "| modality | slices | settings | seconds | seconds per slice |"
    yield "|---|---|---|---|---|"
    for modality, size, count, options in CASES:
        stack = to_plane(phantom_scan(modality, 1, size=size, slices=count), "axial")
        start = time.perf_counter()
        DEGRADATIONS[modality](
            stack.slices, spacing_mm=stack.spacing_mm, seeds=range(count), **options
        )
        seconds = time.perf_counter() - start
        told = ", ".join(f"{name} {value}" for name, value in options.items()) or "defaults"
        yield (
            f"| {modality} | {size} x {size} x {count} | {told} | {seconds:.2f} | "
            f"{seconds / count:.4f} |"
        )


if __name__ == "__main__":
    for row in rows():
        print(row, flush=True)
