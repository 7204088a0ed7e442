"""What an engine replica counts, beside what the HTTP replicas do."""

from __future__ import annotations

import math

from amir.inference.engine.shadow import Comparison
from serve.metrics import Metrics


class EngineMetrics:
    """Forwards, and what the challenger in the shadow makes of the same slices."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def batch(self, slices: int, seconds: float) -> None:
        self._metrics.observe("amir_forward_slices", slices)
        self._metrics.observe("amir_forward_seconds", seconds)

    def comparison(self, found: Comparison) -> None:
        of = {
            "modality": str(found.modality),
            "digest": found.digest[:12],
            "challenger": found.challenger[:12],
        }
        if math.isfinite(found.psnr):  # equal and constant slices have none
            self._metrics.observe("amir_shadow_psnr_db", found.psnr, **of)
        self._metrics.observe("amir_shadow_largest_difference", found.largest_difference, **of)
