"""Degraded: what every simulated degradation hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Degraded:
    """Slices before and after a simulated degradation.

    degraded, target: float32 [n, H, W], physical units (a.u., HU or SUV). The target is what a
    perfect restoration would give; for PET it is a reconstruction, not the slices that came in.
    parameters: what was done, JSON values only; stored with the slices.
    """

    degraded: NDArray[np.float32]
    target: NDArray[np.float32]
    parameters: dict[str, Any]
