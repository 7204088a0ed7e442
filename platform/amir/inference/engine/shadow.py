"""The challenger beside the model that answers: the same slices, compared and never shown."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amir.inference.engine.drawing import is_drawn
from amir.inference.engine.slices import SliceAnswer, SliceRequest
from amir.metrics import psnr

Slices = NDArray[np.float32]
PENDING = 4  # requests; under load comparisons are left out, not queued


@dataclass(frozen=True)
class Comparison:
    """Two models' answers to the same slices.

    psnr: dB, mean over the slices that are not constant, of the answer as the truth; infinite where
    all are equal, NaN where all are constant. largest_difference: in physical units.
    """

    modality: str
    digest: str
    challenger: str
    psnr: float
    largest_difference: float


def is_shadowed(request: SliceRequest, share: float) -> bool:
    """By the content, so that a repeated request is compared again or again not."""
    if share == 0:
        return False
    content = zlib.crc32(np.ascontiguousarray(request.slices).data)
    return is_drawn(str(content), share, purpose="shadow")


def compare(
    request: SliceRequest, answer: SliceAnswer, challenger: str, challenged: Slices
) -> Comparison:
    pairs = [(a, b) for a, b in zip(answer.restored, challenged, strict=True) if np.ptp(a) > 0]
    return Comparison(
        modality=str(request.modality),
        digest=request.model,
        challenger=challenger,
        psnr=float(np.mean([psnr(b, a, float(np.ptp(a))) for a, b in pairs]))
        if pairs
        else float("nan"),
        largest_difference=float(np.abs(answer.restored - challenged).max()),
    )
