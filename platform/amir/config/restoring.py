"""A degraded scan to a restored one; and everything at once."""

from __future__ import annotations

from pathlib import Path

from amir.config.section import Section
from amir.config.tracking import TrackingSettings
from amir.config.trust import Passes, TrustSettings, Upsampling
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
    upsample: Upsampling = "none"
    """MR of a small matrix: fill k-space with zeros to a matrix this many times as large."""
    uncertainty: Passes = 0
    """Further passes over mirrored slices; the report tells how far they are apart."""
    trust: TrustSettings = TrustSettings()
    report: Path | None = None
    """JSON file for what is to be known of the restoration; null writes none."""
    storage: Path = Path("storage")
    """Where a run named by --model lies."""
    tracking: TrackingSettings = TrackingSettings()


class DemoSettings(Section):
    """jobs/demo.py: everything once, on generated phantoms."""

    out: Path = Path("demo-output")
    """Folder for the phantoms and all that is made of them."""
