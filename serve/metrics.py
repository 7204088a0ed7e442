"""What the service counts, in one table, and the text that Prometheus reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from amir.inference.engine.slices import ModelDescription, SliceAnswer, SliceRequest
from amir.modality import Modality
from serve.restoring.report import Report

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
BYTES = tuple(float(4**power) for power in range(5, 17))  # 1 KiB to 4 GiB
SLICES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SCORES = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 100)
DECIBELS = (20, 25, 30, 35, 40, 45, 50, 60, 80)
DIFFERENCES = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
COMPARED = ("modality", "digest", "challenger")


@dataclass(frozen=True)
class Metric:
    """labels: their values are routes, codes and names of ours, never what a request says.

    is_own: of the process that answers, not added up over all.
    """

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS
    is_own: bool = False


METRICS = {
    "amir_requests": Metric("counter", "Requests answered.", ("method", "route", "status")),
    "amir_request_seconds": Metric("histogram", "From first to last byte.", ("route",)),
    "amir_requests_in_progress": Metric("gauge", "Requests under way."),
    "amir_requests_waiting": Metric("gauge", "Requests in line for a place at a replica."),
    "amir_problems": Metric("counter", "Requests refused or failed.", ("code",)),
    "amir_upload_bytes": Metric("histogram", "Sizes of uploads.", buckets=BYTES),
    "amir_restorations": Metric("counter", "Files and tensors restored.", ("modality", "model")),
    "amir_stage_seconds": Metric(
        "histogram",
        "receive, read, restore (within it waiting for a batch, and forward), write.",
        ("stage",),
    ),
    "amir_slices": Metric("histogram", "Slices of a restoration.", buckets=SLICES),
    "amir_batch_slices": Metric(
        "histogram",
        "Slices of the largest batch that a restoration had part in.",
        buckets=SLICES,
    ),
    "amir_voxels": Metric("counter", "Voxels restored.", ("modality",)),
    "amir_clipped_voxels": Metric(
        "counter", "Voxels outside the range of training.", ("modality",)
    ),
    "amir_flags": Metric("counter", "Doubts about files.", ("modality", "code")),
    "amir_outlier_score": Metric(
        "histogram", "Of restorations, where the model has statistics.", ("modality",), SCORES
    ),
    "amir_queue_slices": Metric("gauge", "Slices that wait for the network."),
    "amir_forward_slices": Metric("histogram", "Slices of a forward.", buckets=SLICES),
    "amir_forward_seconds": Metric("histogram", "Seconds of a forward."),
    "amir_shadow_psnr_db": Metric(
        "histogram", "The challenger's slices against the answer.", COMPARED, DECIBELS
    ),
    "amir_shadow_largest_difference": Metric(
        "histogram", "The same, in HU, SUV or a.u.", COMPARED, DIFFERENCES
    ),
    "amir_model_info": Metric(
        "gauge", "1 for each model that is served.", ("alias", "digest", "version"), is_own=True
    ),
}


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._counters = {
            name: Counter(name, metric.help, metric.labels, registry=registry)
            for name, metric in _of_kind("counter")
        }
        self._gauges = {
            name: Gauge(name, metric.help, metric.labels, registry=registry)
            for name, metric in _of_kind("gauge")
        }
        self._histograms = {
            name: Histogram(
                name, metric.help, metric.labels, registry=registry, buckets=metric.buckets
            )
            for name, metric in _of_kind("histogram")
        }

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        counter = self._counters[name]
        (counter.labels(**labels) if labels else counter).inc(amount)

    def observe(self, name: str, value: float, **labels: str) -> None:
        histogram = self._histograms[name]
        (histogram.labels(**labels) if labels else histogram).observe(value)

    def change(self, name: str, amount: float) -> None:
        self._gauges[name].inc(amount)

    def show(self, name: str, value: float) -> None:
        self._gauges[name].set(value)

    def show_models(self, models: Iterable[ModelDescription]) -> None:
        info = self._gauges["amir_model_info"]
        info.clear()
        for model in models:
            info.labels(alias=model.alias, digest=model.digest, version=model.version).set(1)

    def text(self) -> bytes:
        """The exposition format of Prometheus, version 0.0.4."""
        return generate_latest(self._registry)


def _of_kind(kind: str) -> Iterator[tuple[str, Metric]]:
    return ((name, metric) for name, metric in METRICS.items() if metric.kind == kind)


def count_restoration(metrics: Metrics, report: Report, size: int) -> None:
    """What a restored upload of so many bytes adds."""
    modality = report.modality
    metrics.observe("amir_upload_bytes", size)
    _count_slices(metrics, modality, report.model.digest, report.slices, report.clipped_voxels)
    metrics.observe("amir_batch_slices", report.largest_batch)
    for flag in report.flags:
        metrics.count("amir_flags", modality=modality, code=flag.code)
    _observe(metrics, modality, report.outlier_score, report.seconds)


def count_tensors(metrics: Metrics, request: SliceRequest, answer: SliceAnswer) -> None:
    """What slices add that came without a file."""
    shape = request.slices.shape
    _count_slices(metrics, request.modality, request.model, shape, answer.clipped)
    metrics.observe("amir_batch_slices", answer.batch)
    scores = answer.outlier_score[np.isfinite(answer.outlier_score)]
    score = float(np.median(scores)) if scores.size else None
    _observe(metrics, request.modality, score, answer.seconds)


def _count_slices(
    metrics: Metrics, modality: Modality, digest: str, shape: tuple[int, ...], clipped: int
) -> None:
    """shape: of the slices, (n, height, width)."""
    metrics.count("amir_restorations", modality=modality, model=digest[:12])
    metrics.observe("amir_slices", shape[0])
    metrics.count("amir_voxels", math.prod(shape), modality=modality)
    metrics.count("amir_clipped_voxels", clipped, modality=modality)


def _observe(
    metrics: Metrics, modality: Modality, score: float | None, seconds: Mapping[str, float]
) -> None:
    if score is not None:
        metrics.observe("amir_outlier_score", score, modality=modality)
    for stage, taken in seconds.items():
        metrics.observe("amir_stage_seconds", taken, stage=stage)
