"""What an engine replica tells Prometheus, through Ray's own metrics."""

from __future__ import annotations

import math

from ray.serve.metrics import Counter, Gauge, Histogram

from amir.inference.shadow import Comparison

BATCH_SIZES = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
MODELS = ("modality", "digest", "challenger")


class EngineMetrics:
    """Batches, and what the challenger in the shadow makes of the same slices."""

    def __init__(self) -> None:
        self._sizes = Histogram("amir_batch_slices", "Slices of a forward", BATCH_SIZES)
        self._seconds = Histogram("amir_forward_seconds", "Seconds of a forward", SECONDS)
        self._compared = Counter("amir_shadow_requests", "Requests compared", MODELS)
        self._psnr = Gauge("amir_shadow_psnr_db", "Challenger against answer, latest", MODELS)
        self._difference = Gauge(
            "amir_shadow_largest_difference", "In physical units, latest", MODELS
        )

    def batch(self, slices: int, seconds: float) -> None:
        self._sizes.observe(slices)
        self._seconds.observe(max(seconds, 1e-9))

    def comparison(self, found: Comparison) -> None:
        tags = {
            "modality": found.modality,
            "digest": found.digest[:12],
            "challenger": found.challenger[:12],
        }
        self._compared.inc(tags=tags)
        if math.isfinite(found.psnr):
            self._psnr.set(found.psnr, tags=tags)
        self._difference.set(found.largest_difference, tags=tags)
