"""What the service counts, in one table, and the text that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from amir.inference.slices import ModelDescription
from serve.report import Report

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
BYTES = tuple(float(4**power) for power in range(5, 17))  # 1 KiB to 4 GiB
SLICES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Metric:
    """labels: their values are routes, codes and names of ours, never what a request says."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS


METRICS = {
    "amir_requests": Metric("counter", "Requests answered.", ("method", "route", "status")),
    "amir_request_seconds": Metric("histogram", "From first to last byte.", ("route",)),
    "amir_requests_in_progress": Metric("gauge", "Requests under way in this process."),
    "amir_problems": Metric("counter", "Requests refused or failed.", ("code",)),
    "amir_upload_bytes": Metric("histogram", "Sizes of uploads.", buckets=BYTES),
    "amir_restorations": Metric("counter", "Files restored.", ("modality", "model")),
    "amir_stage_seconds": Metric(
        "histogram",
        "receive, read, restore (within it waiting for a batch, and forward), write.",
        ("stage",),
    ),
    "amir_slices": Metric("histogram", "Slices of a file.", buckets=SLICES),
    "amir_batch_slices": Metric(
        "histogram",
        "Slices of the largest batch that a file's slices were part of.",
        buckets=SLICES,
    ),
    "amir_voxels": Metric("counter", "Voxels restored.", ("modality",)),
    "amir_clipped_voxels": Metric(
        "counter", "Voxels outside the range of training.", ("modality",)
    ),
    "amir_flags": Metric("counter", "Doubts about files.", ("modality", "code")),
    "amir_model_info": Metric(
        "gauge", "1 for each model that is served.", ("alias", "digest", "version")
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
    modality = str(report.modality)
    slices, height, width = report.slices
    metrics.count("amir_restorations", modality=modality, model=report.model.digest[:12])
    metrics.observe("amir_upload_bytes", size)
    metrics.observe("amir_slices", slices)
    metrics.observe("amir_batch_slices", report.largest_batch)
    metrics.count("amir_voxels", slices * height * width, modality=modality)
    metrics.count("amir_clipped_voxels", report.clipped_voxels, modality=modality)
    for flag in report.flags:
        metrics.count("amir_flags", modality=modality, code=flag.code)
    for stage, seconds in report.seconds.items():
        metrics.observe("amir_stage_seconds", seconds, stage=stage)
