"""A request for slices as images for the network, and its images as the answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from amir.inference.engine.slice_queue import PassedSlice
from amir.inference.engine.slices import SliceAnswer, SliceRequest
from amir.inference.normalising import from_network, outside, to_network
from amir.inference.padding import crop
from amir.inference.trust.features import slice_features
from amir.inference.trust.outliers import OutlierStatistics
from amir.inference.trust.uncertainty import deviation, mirror

Images = NDArray[np.float32]


def network_images(request: SliceRequest) -> list[Images]:
    """Padded images [h, w] in 0..1: of every slice, then of every slice mirrored, pass by pass."""
    mirrored = [mirror(request.slices, number) for number in range(request.uncertainty)]
    return [
        image
        for slices in (request.slices, *mirrored)
        for image in to_network(slices, request.modality, scale=request.scale)
    ]


def slice_answer(
    request: SliceRequest,
    given: Sequence[Images],
    passed: Sequence[PassedSlice],
    statistics: OutlierStatistics | None = None,
) -> SliceAnswer:
    """What the network made of `network_images`; the restored slices are those of the plain pass.

    given: the images. statistics: of the model's training data. A RuntimeError where the network
    gave anything but numbers.
    """
    images = np.stack([one.image for one in passed])
    if not np.isfinite(images).all():
        raise RuntimeError(f"model {request.model[:12]} gave NaN or infinity for finite slices")
    plain, *mirrored = np.split(images, request.uncertainty + 1)
    restored = _restored(request, plain)
    passes = [restored, *(_restored(request, i, number) for number, i in enumerate(mirrored))]
    own = passed[: len(request.slices)]
    return SliceAnswer(
        restored=restored,
        clipped=int(
            np.count_nonzero(outside(request.slices, request.modality, scale=request.scale))
        ),
        deviation=deviation(passes) if mirrored else None,
        outlier_score=_outlier_score(request, given[: len(own)], own, statistics),
        expert_use={
            level: tuple(map(float, np.mean([one.expert_use[level] for one in own], axis=0)))
            for level in own[0].expert_use
        },
        seconds={
            "waiting": max(one.waiting for one in passed),
            "forward": max(one.forward for one in passed),
        },
        batch=max(one.batch for one in passed),
    )


def _restored(request: SliceRequest, images: Images, mirrored: int | None = None) -> Images:
    """[n, H, W] in physical units, of the plain pass or of a mirrored one, mirrored back."""
    degraded = request.slices if mirrored is None else mirror(request.slices, mirrored)
    restored = from_network(images, degraded, request.modality, scale=request.scale)
    return restored if mirrored is None else mirror(restored, mirrored)


def _outlier_score(
    request: SliceRequest,
    given: Sequence[Images],
    passed: Sequence[PassedSlice],
    statistics: OutlierStatistics | None,
) -> NDArray[np.float64]:
    """[n]; NaN where the model stores no statistics."""
    if statistics is None:
        return np.full(len(given), np.nan)
    height, width = request.slices.shape[-2:]
    instructions = [one.instruction for one in passed if one.instruction is not None]
    features = slice_features(
        crop(np.stack(given), height, width),
        crop(np.stack([one.image for one in passed]), height, width),
        instruction=np.stack(instructions) if instructions else None,
        expert_use={
            level: np.stack([one.expert_use[level] for one in passed])
            for level in passed[0].expert_use
        },
    )
    return statistics.score(features, request.modality)
