"""What the service must answer, computed without it."""

from __future__ import annotations

import numpy as np

from amir.checkpoint import Checkpoint
from amir.inference.restorer import Restorer
from amir.modality import Modality
from benchmarks.fault_rows.client_load import volume_of


class Expectations:
    """Called with a model's digest and a file's number: its voxels as that model restores them."""

    def __init__(self, *models: Checkpoint) -> None:
        self._restorers = {model.digest: Restorer.of(model) for model in models}
        self._known: dict[tuple[str, int], np.ndarray] = {}

    def __call__(self, digest: str, number: int) -> np.ndarray:
        """A digest of no model is a KeyError."""
        key = digest, number
        if key not in self._known:
            restorer = self._restorers[digest]
            self._known[key] = restorer.restore_slices(volume_of(number), Modality.CT)
        return self._known[key]
