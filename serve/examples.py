"""Drawn phantoms to try the page with: degraded as in training, and nobody's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from amir.modality import Modality

SUBJECT = 3
SIZES = {Modality.MRI: (128, 20), Modality.CT: (128, 10), Modality.PET: (64, 32)}


_DRAWING = Lock()


def example_file(modality: Modality) -> bytes:
    """A .nii.gz volume; the first call of a process draws it, which takes seconds."""
    with _DRAWING:
        return _drawn(modality)


@cache
def _drawn(modality: Modality) -> bytes:
    from amir.degradations.by_modality import DEGRADATIONS
    from amir.imaging import from_plane, to_plane
    from amir.imaging.nifti_display import write_display_volume
    from amir.phantoms import phantom_scan

    size, slices = SIZES[modality]
    scan = phantom_scan(modality, SUBJECT, size=size, slices=slices)
    stack = to_plane(scan, "axial")
    degraded = DEGRADATIONS[modality](
        stack.slices, spacing_mm=stack.spacing_mm, seeds=range(len(stack.slices))
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "example.nii.gz"
        write_display_volume(from_plane(degraded.degraded, scan, "axial"), path)
        return path.read_bytes()
