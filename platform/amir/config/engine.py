"""How the service restores slices: batches, devices, replicas, and which models it serves when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from amir.config.section import Fraction, Kernels, PositiveFloat, Section

Count = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=256)]
Precision = Literal["float32", "bfloat16"]


class BatchSettings(Section):
    pixels: Pixels = 8 * 256 * 256
    """Pixels of one forward, which bound its memory; one slice may have more, up to tile.pixels."""
    seconds: PositiveFloat = 1.0
    """How long one forward may take, by the speed of the latest; a single slice may take longer."""
    wait_seconds: Annotated[float, Field(ge=0, le=10)] = 0.005
    """How long a batch that is not full waits for more, while the device has been busy."""
    queue_seconds: PositiveFloat = 20
    """A request that would wait longer for others, for its place at an HTTP replica or then at the
    engine, is refused (503) with Retry-After."""
    queue_pixels: Pixels = 2**27
    """What may wait in a replica's memory."""


class TileSettings(Section):
    pixels: Pixels = 1024 * 1024
    """A larger slice is restored in overlapping tiles of at most so many pixels."""
    overlap: Annotated[int, Field(ge=16, multiple_of=8)] = 32
    """Pixels that neighbouring tiles share."""

    passes: Annotated[int, Field(ge=0, le=3)] = 1
    """How often all tiles are run before, to find the attention of the whole slice."""

    @model_validator(mode="after")
    def _tiles_are_larger_than_their_overlap(self) -> TileSettings:
        if self.pixels < (2 * self.overlap) ** 2:
            raise ValueError(
                f"tile.pixels {self.pixels} is less than a square of twice the overlap "
                f"({self.overlap}); give at least {(2 * self.overlap) ** 2}"
            )
        return self


class SwapSettings(Section):
    poll_seconds: PositiveFloat = 5
    """How often the registry is asked where the aliases point."""
    grace_seconds: Annotated[float, Field(ge=0)] = 600
    """How long a replaced model is kept, for the series that began with it and for going back."""
    cache: Path | None = None
    """Folder with copies of the models served, on a disk that the replicas share: what a new
    replica starts from while the registry is down; null: `serving` in the storage folder."""


class ChallengerSettings(Section):
    """A second model beside the one that requests ask for."""

    alias: str = "challenger"
    """One of the aliases in models."""
    share: Fraction = 0
    """Share of the requests that it gets."""


class ReplicaSettings(Section):
    cpus: PositiveFloat = 1
    """CPUs of each replica, and its threads."""
    gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of each replica."""
    smallest: Count = 1
    """Replicas that always run."""
    largest: Count = 1
    """Replicas that may run under load."""
    target_requests: PositiveFloat = 4
    """Requests under way per replica that autoscaling aims at."""
    upscale_seconds: PositiveFloat = 10
    """How long the load must last before a replica is added."""
    downscale_seconds: PositiveFloat = 120
    """How long it must be gone before one is taken away."""
    ongoing_requests: Count = 64
    """Requests that one replica holds at once, waiting ones included."""
    hang_seconds: PositiveFloat = 300
    """A forward that takes longer makes the replica unhealthy: Serve starts another."""

    @model_validator(mode="after")
    def _range(self) -> ReplicaSettings:
        if self.largest < self.smallest:
            raise ValueError(f"replica.largest {self.largest} is below smallest {self.smallest}")
        return self


class EngineSettings(Section):
    """How slices are restored."""

    precision: Precision = "float32"
    """bfloat16 is faster where the hardware has it; see docs/serving.md for what it costs."""
    kernels: Kernels = "eager"
    """Plain torch, or Triton's kernels for what takes most of the time; on a GPU only."""
    compile: bool = False
    """Compile the network for the sizes of warm_up, before a replica is ready; on a GPU only."""
    graph: bool = False
    """Repeat forwards of the sizes of warm_up as CUDA graphs; on a GPU only."""
    warm_up: tuple[tuple[Count, Count], ...] = ((256, 256),)
    """Height and width of the slices that a replica restores once before it is ready."""
    batch: BatchSettings = BatchSettings()
    tile: TileSettings = TileSettings()
    swap: SwapSettings = SwapSettings()
    canary: ChallengerSettings = ChallengerSettings()
    """Share of the requests that the challenger answers in place of the default model."""
    shadow: ChallengerSettings = ChallengerSettings()
    """Share of the requests that the challenger restores too, unseen, to be compared."""
    replica: ReplicaSettings = ReplicaSettings()
