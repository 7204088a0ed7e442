"""Best, median and worst slices of each task, as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from amir.dataset.slices import SlicePair, read_shard
from amir.evaluation.failures import SliceGain, worst_median_best
from amir.evaluation.quantities.measure import histograms
from amir.evaluation.quantities.scan_quantities import Image, ScanQuantities
from amir.evaluation.report.pictures import Window, error_png, grey_png, window_of
from amir.evaluation.report.subject import Subject
from amir.inference.restorer import Restorer
from amir.modality import Modality


@dataclass(frozen=True)
class Picture:
    """uri: the PNG. text: what it shows, in words."""

    head: str
    uri: str
    text: str


@dataclass(frozen=True)
class Example:
    """A row of pictures. aspect: width over height in mm."""

    rank: str
    gain: SliceGain
    aspect: float
    pictures: tuple[Picture, ...]


def draw_examples(
    subject: Subject, gains: Sequence[SliceGain], scans: Sequence[ScanQuantities], *, gpu: bool
) -> Iterator[tuple[Modality, Window, list[Example]]]:
    """For each task its window, and its best, median and worst slice."""
    restorer = subject.restorer(gpu=gpu)
    for task in subject.table.tasks:
        window = window_of(task, histograms(scans, task)["target"])
        chosen = worst_median_best([gain for gain in gains if gain.modality is task])
        yield (
            task,
            window,
            [_example(subject, restorer, rank, gain, window) for rank, gain in chosen.items()],
        )


def _example(
    subject: Subject, restorer: Restorer, rank: str, gain: SliceGain, window: Window
) -> Example:
    shards = {shard.file: shard for shard in subject.manifest.of(subject.record.split)}
    (pair,) = read_shard(subject.data, shards[gain.shard], [gain.row])
    restored = restorer.restore_slice(pair.degraded, pair.modality, scale=pair.scale)
    height, width = pair.target.shape
    return Example(
        rank,
        gain,
        width * pair.spacing_mm[1] / (height * pair.spacing_mm[0]),
        tuple(_pictures(pair, restored, gain, window)),
    )


def _pictures(
    pair: SlicePair, restored: Image, gain: SliceGain, window: Window
) -> Iterator[Picture]:
    scale, inverted = np.float32(pair.scale), pair.modality is Modality.PET
    of = f"{pair.modality} slice {pair.slice_index} of patient {pair.patient_id}"
    for head, image, told in (
        ("degraded", pair.degraded, f"PSNR {gain.psnr_degraded:.2f} dB"),
        ("restored", restored, f"PSNR {gain.psnr:.2f} dB"),
        ("target", pair.target, ""),
    ):
        uri = grey_png(image * scale, window, inverted=inverted)
        yield Picture(head, uri, f"{of}, {head}. {told}".strip())
    for head, image in (("error before", pair.degraded), ("error after", restored)):
        error = (image - pair.target) * scale
        rms = float(np.sqrt(np.mean(np.square(error))))
        text = f"{of}, {head}: root mean square {rms:.3g} {window.unit}"
        yield Picture(head, error_png(error, window), text)
