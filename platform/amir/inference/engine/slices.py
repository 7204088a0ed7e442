"""What the HTTP side and the network side of the service say to each other: slices, and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from amir.config import IntensityScale
from amir.errors import InputError
from amir.modality import Modality

Slices = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SliceRequest:
    """Slices of one scan to restore.

    slices: [n, H, W] in physical units, in the plane of training. scale: the scan's intensity
    scale. model: full digest, as `Engine.choose` answered, which pins a whole series to one model.
    uncertainty: further passes of mirrored slices, at most 3; 0 for none. series: what all requests
    for one upload have in common; uploads take turns. continues: that an earlier request of the
    series was taken, so that this one is not refused for being one too many.
    """

    slices: Slices
    modality: Modality
    scale: float
    model: str
    uncertainty: int = 0
    series: str = ""
    continues: bool = False


@dataclass(frozen=True, eq=False)
class SliceAnswer:
    """The restored slices, and what a careful reader wants to know of them.

    restored: [n, H, W] in physical units. clipped: voxels outside the modelling range, handed
    through unchanged. deviation: [n, H, W], standard deviation over the passes in physical units,
    None where none was asked for. outlier_score: [n], NaN where the model stores no statistics.
    expert_use: by level, the mean share of the pixels that each expert sees; over the experts they
    sum to K, and there are no levels without routing. seconds: by stage, "waiting" and "forward".
    batch: slices in the largest batch that one of these was part of.
    """

    restored: Slices
    clipped: int
    deviation: Slices | None
    outlier_score: NDArray[np.float64]
    expert_use: Mapping[str, tuple[float, ...]]
    seconds: Mapping[str, float]
    batch: int


@dataclass(frozen=True)
class ModelDescription:
    """A model that the engine serves.

    alias: what requests may call it, such as "champion"; "" for one that has been replaced and is
    kept for the series that began with it. version: its number in the registry, "" outside of one.
    problem: why the newest version of this alias is not the one that is served, "" if it is.
    kspace_factor: by which its MR training data was cropped in k-space, 1 if it was not.
    """

    digest: str
    alias: str
    reference: str
    network: str
    intensity: IntensityScale
    parameters: int
    version: str = ""
    precision: str = "float32"
    kspace_factor: int = 4
    ready: bool = True
    problem: str = field(default="", compare=False)


class OverloadedError(InputError):
    """More is waiting than can be restored in the time allowed; worth another try later."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__("overloaded", message)
        self.retry_after_seconds = retry_after_seconds

    def __reduce__(self) -> tuple[type[OverloadedError], tuple[str, float]]:  # type: ignore[override]
        return type(self), (str(self), self.retry_after_seconds)


class Engine(Protocol):
    """Whatever restores slices: one process, or replicas behind a handle."""

    async def choose(self, reference: str, *, key: str = "") -> ModelDescription:
        """The model for one request or series: by alias, or at least 12 hex digits of a digest.

        key: what decides whether the canary answers; the same key, the same model, as long as the
        aliases stand. InputError("unknown_model").
        """
        ...

    async def restore(self, request: SliceRequest) -> SliceAnswer:
        """InputError("unknown_model") if the model is gone, OverloadedError if too many wait."""
        ...

    async def models(self) -> Sequence[ModelDescription]:
        """Those that requests may name, and those kept for series under way."""
        ...
