"""Beam: the rays of a CT scanner through one slice, parallel or from one source."""

from __future__ import annotations

from math import hypot
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from amir.degradations.fan_beam import FanBeam
from amir.degradations.parallel_beam import ParallelBeam
from amir.errors import InputError

Geometry = Literal["parallel", "fan"]
SOURCE_TO_ISOCENTRE_MM = 541.0  # GE LightSpeed VCT
# Of the source's distance over the radius of the image: nearer, corners graze the source.
CLEARANCE = 1.1


class Beam(Protocol):
    """What a ParallelBeam and a FanBeam have in common."""

    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def spacing_mm(self) -> tuple[float, float]: ...
    @property
    def views(self) -> int: ...

    def resample(
        self, projections: NDArray[np.float32], parallel: ParallelBeam
    ) -> NDArray[np.float32]:
        """Line integrals [views, bins] along these rays, from those of a parallel beam."""
        ...

    def filtered_back_projection(self, projections: NDArray[np.float32]) -> NDArray[np.float32]:
        """The image [H, W] (per mm) whose line integrals these are: [views, bins]."""
        ...


def beam_through(
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    *,
    geometry: Geometry = "parallel",
    views: int = 720,
    source_to_isocentre_mm: float = SOURCE_TO_ISOCENTRE_MM,
) -> Beam:
    """The rays through slices of shape [..., H, W], one pixel apart at the middle of the slice.

    spacing_mm: of (row, column, ...). views: over half a turn in parallel, a full one in a fan.
    """
    image, pixel = (shape[-2], shape[-1]), (spacing_mm[0], spacing_mm[1])
    step = 4 if geometry == "fan" else 2
    if views < step or views % step:
        raise InputError(
            "invalid_setting",
            f"views is {views}; a {geometry} beam takes a multiple of {step}, at least {step}",
        )
    if geometry == "parallel":
        return ParallelBeam(image, pixel, views, min(pixel))
    least = CLEARANCE * hypot(image[0] * pixel[0], image[1] * pixel[1]) / 2
    if source_to_isocentre_mm < least:
        raise InputError(
            "invalid_setting",
            f"source_to_isocentre_mm is {source_to_isocentre_mm:g}; slices of {image[0]} x "
            f"{image[1]} pixels of {pixel[0]:g} x {pixel[1]:g} mm need at least {least:.0f}",
        )
    return FanBeam(image, pixel, views, min(pixel), source_to_isocentre_mm)
