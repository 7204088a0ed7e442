"""One private random generator per slice, so a result depends on its seed and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.errors import InputError


def slice_generator(seed: int) -> np.random.Generator:
    """A counter-based generator (Philox): independent streams for different seeds."""
    return np.random.Generator(np.random.Philox(seed))


def check_slices(slices: NDArray[Any], seeds: Sequence[int]) -> None:
    """Refuse anything but finite [n, H, W] slices with one seed each."""
    if slices.ndim != 3 or 0 in slices.shape:
        raise InputError("empty", f"slices have shape {slices.shape}; pass [n, H, W], n at least 1")
    if len(seeds) != len(slices):
        raise InputError(
            "inconsistent", f"{len(slices)} slices but {len(seeds)} seeds; pass one seed per slice"
        )
    if not np.isfinite(slices).all():
        raise InputError("not_finite", "slices hold NaN or infinite values; repair the scan first")


def check_bounds(name: str, value: float, lower: float, upper: float) -> None:
    """Refuse an option outside its closed interval, naming it."""
    if not lower <= value <= upper:
        raise InputError(
            "invalid_setting", f"{name} is {value:g}; choose a value from {lower:g} to {upper:g}"
        )
