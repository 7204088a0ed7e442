"""A scan's files in, restored files of the same kind out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir import durable
from amir.checkpoint import Checkpoint
from amir.config import RestoreSettings, TrustSettings
from amir.errors import InputError
from amir.imaging import Derivation, check_can_write, read_scan, upsample, write_scan
from amir.inference.network_runner import NetworkRunner
from amir.inference.normalising import to_network
from amir.inference.padding import crop
from amir.inference.restorer import Restorer
from amir.inference.scan_restoration import Restoration, ScanSlices, cut_scan
from amir.inference.tasks import TASKS, derivation
from amir.inference.trust.features import slice_features
from amir.inference.trust.outliers import OutlierStatistics, stored_statistics
from amir.inference.trust.uncertainty import (
    UncertaintySummary,
    UncertaintyTally,
    restore_with_deviation,
)
from amir.inference.trust.verdicts import (
    LOOKED_AT,
    Flag,
    OutlierVerdict,
    check_scan,
    judge_outliers,
    kspace_factor_of,
)
from amir.modality import TRAINING_PLANES
from amir.references import find_model

Slices = NDArray[np.float32]


@dataclass(frozen=True)
class FileRestoration:
    """A restored file and the doubts about it. outlier_score: None without statistics."""

    restoration: Restoration
    flags: tuple[Flag, ...]
    outlier_score: float | None
    uncertainty: UncertaintySummary | None
    saturated: int

    def as_json(self) -> str:
        """The report: what a careful reader wants to know, without the voxels."""
        done = self.restoration
        told: dict[str, Any] = {
            "task": TASKS[done.scan.modality],
            "modality": str(done.scan.modality),
            "model": done.model_digest,
            "intensity_scale": done.intensity_scale,
            "voxels": done.scan.voxels.size,
            "clipped_voxels": done.clipped,
            "saturated_voxels": self.saturated,
            "outlier_score": self.outlier_score,
            "flags": [asdict(flag) for flag in self.flags],
            "uncertainty": None if self.uncertainty is None else asdict(self.uncertainty),
            "label": "research use only, not for diagnosis",
        }
        return json.dumps(told, indent=1) + "\n"


def restore_file(settings: RestoreSettings) -> FileRestoration:
    """Restore the scan of a file or folder and write it; if anything is wrong nothing is."""
    for path in filter(None, (settings.out, settings.report)):
        if path.exists():
            option = "--out" if path == settings.out else "--report"
            raise InputError("invalid_setting", f"{path} exists; choose another {option}")
    found = find_model(settings.model, storage=settings.storage, tracking_uri=settings.tracking.uri)
    restorer = Restorer.of(found, above_range=settings.trust.above_range)
    scan = read_scan(settings.input, modality=settings.modality)
    check_can_write(scan, settings.out)
    if settings.upsample != "none":
        scan = upsample(scan, settings.upsample, TRAINING_PLANES[scan.modality])
    cut = cut_scan(scan, restorer.intensity)
    flags, verdict = _doubts(cut, restorer, stored_statistics(found), settings.trust)
    restored, uncertainty = _restored(cut, restorer, settings.uncertainty)
    done = cut.restored(restored, model_digest=found.digest)
    saturated = write_scan(done.scan, settings.out, _described(found, done, settings))
    result = FileRestoration(done, tuple(flags), verdict.score, uncertainty, saturated)
    if settings.report is not None:
        durable.write_text(settings.report, result.as_json())
    return result


def _doubts(
    cut: ScanSlices,
    restorer: Restorer,
    statistics: OutlierStatistics | None,
    settings: TrustSettings,
) -> tuple[list[Flag], OutlierVerdict]:
    """What is to be said before all slices are restored; InputError where the settings refuse."""
    flags = check_scan(
        cut.slices,
        cut.scan.modality,
        settings,
        scale=cut.scale,
        kspace_factor=kspace_factor_of(statistics),
    )
    verdict = judge_outliers(_outlier_scores(cut, restorer, statistics), settings)
    return [*flags, *([verdict.flag] if verdict.flag else [])], verdict


def _outlier_scores(
    cut: ScanSlices, restorer: Restorer, statistics: OutlierStatistics | None
) -> NDArray[np.float64]:
    """Of some slices, evenly spread over the scan."""
    if statistics is None:
        return np.full(1, np.nan)
    runner = NetworkRunner(restorer.model, device=restorer.device)
    height, width = cut.slices.shape[-2:]
    every = max(1, len(cut.slices) // LOOKED_AT)
    given = to_network(cut.slices[every // 2 :: every], cut.scan.modality, scale=cut.scale)
    scores = []
    for image in given:
        passed = runner.run(image[None])
        features = slice_features(
            crop(image[None], height, width),
            crop(passed.images, height, width),
            instruction=passed.instruction,
            expert_use=passed.expert_use,
        )
        scores.append(statistics.score(features, cut.scan.modality))
    return np.concatenate(scores)


def _restored(
    cut: ScanSlices, restorer: Restorer, passes: int
) -> tuple[Slices, UncertaintySummary | None]:
    modality, scale = cut.scan.modality, cut.scale

    def restore(slices: Slices) -> Slices:
        return restorer.restore_stack(slices, modality, scale=scale)

    if not passes:
        return restore(cut.slices), None
    restored, deviation = restore_with_deviation(restore, cut.slices, passes=passes)
    tally = UncertaintyTally(modality)
    tally.add(deviation, cut.slices, restored, scale=scale)
    return restored, tally.summary(scale=scale)


def _described(found: Checkpoint, done: Restoration, settings: RestoreSettings) -> Derivation:
    upsampled = {} if settings.upsample == "none" else {"upsample": settings.upsample}
    return derivation(
        done.scan.modality,
        network=found.settings["network"]["name"],
        version=found.version,
        model_digest=found.digest,
        options={
            "intensity_scale": done.intensity_scale,
            "above_range": settings.trust.above_range,
            **upsampled,
        },
    )
