"""A scan's files in, restored files of the same kind out."""

from __future__ import annotations

from dataclasses import replace

from amir.config import RestoreSettings
from amir.errors import InputError
from amir.imaging import check_can_write, read_scan, write_scan
from amir.inference.restorer import Restorer
from amir.inference.scan_restoration import Restoration
from amir.inference.tasks import derivation


def restore_file(settings: RestoreSettings) -> Restoration:
    """Restore the scan of a file or folder and write it; if anything is wrong nothing is."""
    if settings.out.exists():
        raise InputError("invalid_setting", f"{settings.out} exists; choose another --out")
    restorer = Restorer.load(
        settings.model, storage=settings.storage, tracking_uri=settings.tracking.uri
    )
    scan = read_scan(settings.input, modality=settings.modality)
    check_can_write(scan, settings.out)
    restoration = restorer.restore(scan)
    described = derivation(
        scan.modality,
        model_digest=restoration.model_digest,
        options={"intensity_scale": restoration.intensity_scale},
    )
    saturated = write_scan(restoration.scan, settings.out, described)
    return replace(restoration, saturated=saturated)
