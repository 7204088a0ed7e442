"""What serving adds to a forward: pixels from the host and back, in the service's batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np

from amir.inference.network_runner import NetworkRunner
from benchmarks.gpu_rows.place import Place
from benchmarks.gpu_rows.table import Row, tried
from benchmarks.gpu_rows.variants import Pair, Variant, left_out


def engine_rows(
    pair: Pair, variants: list[Variant], place: Place, batch: int, size: int
) -> Iterator[Row]:
    """Milliseconds a slice of `NetworkRunner.run`: what a replica does with a batch."""
    images = np.random.default_rng(0).random((batch, size, size), dtype=np.float32)
    for variant in variants:
        if left_out(variant, place):
            continue
        rows: list[Row] = []

        def measure(variant: Variant = variant) -> Row:
            runner = NetworkRunner(
                copy.deepcopy(pair.ours).eval(),
                device=place.device,
                precision=variant.precision,
                kernels=variant.kernels,
                compiled=variant.compiled,
                graphs=variant.graph,
                usual=[(size, size)],
            )
            seconds = place.alone(lambda: runner.run(images))
            waits = place.host_waits(lambda: runner.run(images))
            return {"ms": seconds / batch * 1e3, "host waits": waits}

        tried(rows, {"batch": batch, "variant": variant.name}, measure)
        yield from rows
        place.forget()
