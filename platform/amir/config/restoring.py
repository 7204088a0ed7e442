"""A degraded scan to a restored one; and everything at once."""

from __future__ import annotations

from pathlib import Path

from amir.config.section import Section
from amir.config.tracking import TrackingSettings
from amir.modality import Modality


class RestoreSettings(Section):
    """jobs/restore.py: a degraded scan to a restored one."""

    model: str
    """Model reference: a checkpoint folder, RUN, RUN@STEP or models:/amir@champion."""
    input: Path
    """NIfTI, or a DICOM series: folder, zip, DICOMDIR or file; PATH#LABEL chooses among several."""
    out: Path
    """NIfTI file (.nii, .nii.gz) or folder for a DICOM series; refused if it exists."""
    modality: Modality | None = None
    """Needed where the file does not say it."""
    storage: Path = Path("storage")
    """Where a run named by --model lies."""
    tracking: TrackingSettings = TrackingSettings()


class DemoSettings(Section):
    """jobs/demo.py: everything once, on generated phantoms."""

    out: Path = Path("demo-output")
    """Folder for the phantoms and all that is made of them."""
