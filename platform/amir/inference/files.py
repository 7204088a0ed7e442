"""A scan's files in, restored files of the same kind out."""

from __future__ import annotations

from dataclasses import replace

from amir.config import RestoreSettings
from amir.errors import InputError
from amir.imaging import Derivation, check_can_write, read_scan, write_scan
from amir.inference.restorer import Restorer
from amir.inference.scan_restoration import Restoration
from amir.modality import Modality

TASKS = {Modality.MRI: "mri-sr", Modality.CT: "ct-denoise", Modality.PET: "pet-synthesis"}


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
    saturated = write_scan(restoration.scan, settings.out, derivation(restoration))
    return replace(restoration, saturated=saturated)


def derivation(restoration: Restoration) -> Derivation:
    """How the restored scan came about, for its header."""
    return Derivation(
        model_name="AMIR",
        model_version=restoration.model_digest[:12],
        model_digest=restoration.model_digest,
        task=TASKS[restoration.scan.modality],
        options={"intensity_scale": restoration.intensity_scale},
        precision="float32",
    )
