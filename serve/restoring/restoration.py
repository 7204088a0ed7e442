"""One uploaded file restored: read, cut, through the engine chunk by chunk, written as it came."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from amir.config import LimitSettings, TrustSettings
from amir.errors import InputError
from amir.inference.engine.slices import Engine, ModelDescription
from amir.inference.tasks import TASKS, derivation
from amir.inference.trust.verdicts import OutlierVerdict
from serve.restoring.options import RestoreOptions
from serve.restoring.processes import FileProcesses
from serve.restoring.report import Report, ReportFlag, ReportModel, ReportUncertainty
from serve.restoring.scan_files import (
    DEGRADED,
    DEVIATION,
    RESTORED,
    CutUpload,
    WrittenScan,
    cut_upload,
    write_restored,
)
from serve.restoring.slice_series import ModelGoneError, OnProgress, SliceSeries, Tally
from serve.restoring.upload_kinds import UploadKind

MODEL_CHANGES = 3  # so often a series starts again because its model has gone


@dataclass(frozen=True)
class Upload:
    """path: the file, under a name of ours. digest: sha256 of it, in hexadecimal digits."""

    path: Path
    kind: UploadKind
    digest: str
    size: int


@dataclass(frozen=True)
class RestoredUpload:
    """path: the restored file, in the folder that was given for it."""

    path: Path
    media_type: str
    filename: str
    report: Report


@dataclass(frozen=True)
class Tools:
    """What all restorations of a process share."""

    engine: Engine
    files: FileProcesses
    limits: LimitSettings
    trust: TrustSettings


async def restore_upload(
    upload: Upload,
    options: RestoreOptions,
    tools: Tools,
    *,
    folder: Path,
    on_progress: OnProgress | None = None,
) -> RestoredUpload:
    """The restored file and its report.

    folder: an empty one for the work, which the caller removes. All slices are restored by one
    model: where it is replaced meanwhile and gone, all start again with the new one. on_progress:
    is told how many of how many slices are done.
    """
    for _ in range(MODEL_CHANGES):
        model = await tools.engine.choose(options.model, key=upload.digest)
        try:
            return await _restore_by(model, upload, options, tools, folder, on_progress)
        except ModelGoneError:
            continue
    raise InputError(
        "overloaded", f"the model was replaced {MODEL_CHANGES} times meanwhile; send it again"
    )


async def _restore_by(
    model: ModelDescription,
    upload: Upload,
    options: RestoreOptions,
    tools: Tools,
    folder: Path,
    on_progress: OnProgress | None,
) -> RestoredUpload:
    cut = await tools.files.run(
        cut_upload,
        upload.path,
        folder,
        modality=options.modality,
        choose=options.choose,
        upsampling=options.upsampling,
        intensity=model.intensity,
        trust=tools.trust,
        kspace_factor=model.kspace_factor,
        max_voxels=tools.limits.voxels,
    )
    start = time.perf_counter()
    series = SliceSeries(
        tools.engine,
        model.digest,
        cut.modality,
        cut.scale,
        options.uncertainty,
        bright_peak=cut.peak if tools.trust.above_range == "restore" else None,
    )
    tally = await series.restore(
        folder / DEGRADED,
        folder / RESTORED,
        deviation=folder / DEVIATION,
        limits=tools.limits,
        on_progress=on_progress,
    )
    verdict = tally.outliers(tools.trust)
    seconds = {"read": cut.seconds, "restore": time.perf_counter() - start, **tally.seconds}
    described = derivation(
        cut.modality,
        network=model.network,
        version=model.version,
        model_digest=model.digest,
        options=_deciding(cut, options, tools.trust),
        precision=model.precision,
    )
    written = await tools.files.run(write_restored, folder, upload.kind, described)
    seconds["write"] = written.seconds
    report = _report(upload, options, model, cut, tally, verdict, written, seconds, tools.trust)
    return RestoredUpload(
        written.path, written.kind.media_type, f"restored{written.kind.suffix}", report
    )


def _deciding(cut: CutUpload, options: RestoreOptions, trust: TrustSettings) -> dict[str, object]:
    """What beside the model and the file decides the restored voxels."""
    upsampled = {"upsample": options.upsampling} if options.upsampling > 1 else {}
    return {"intensity_scale": cut.scale, "above_range": trust.above_range, **upsampled}


def _report(
    upload: Upload,
    options: RestoreOptions,
    model: ModelDescription,
    cut: CutUpload,
    tally: Tally,
    verdict: OutlierVerdict,
    written: WrittenScan,
    seconds: dict[str, float],
    trust: TrustSettings,
) -> Report:
    return Report(
        task=TASKS[cut.modality],
        modality=cut.modality,
        unit=cut.unit,
        model=ReportModel(
            digest=model.digest,
            alias=model.alias,
            reference=model.reference,
            version=model.version,
            network=model.network,
            precision=model.precision,
        ),
        input_digest=upload.digest,
        slices=cut.shape,
        intensity_scale=cut.scale,
        upsample=options.upsample,
        clipped_voxels=tally.clipped,
        above_range=trust.above_range,
        saturated_voxels=written.saturated,
        largest_batch=tally.largest_batch,
        expert_use=tally.expert_use(),
        outlier_score=verdict.score,
        flags=_flags(cut, verdict),
        uncertainty=_uncertainty(tally, cut, options.uncertainty),
        seconds={stage: round(value, 6) for stage, value in seconds.items()},
    )


def _flags(cut: CutUpload, verdict: OutlierVerdict) -> tuple[ReportFlag, ...]:
    found = cut.flags if verdict.flag is None else (*cut.flags, verdict.flag)
    return tuple(ReportFlag(code=flag.code, message=flag.message) for flag in found)


def _uncertainty(tally: Tally, cut: CutUpload, passes: int) -> ReportUncertainty | None:
    summary = tally.spread.summary(scale=cut.scale)
    if summary is None:  # no passes were asked for, or there was nothing but air
        return None
    return ReportUncertainty(passes=passes, **asdict(summary))
