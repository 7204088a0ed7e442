"""A run's picture: one validation slice of each task through the run's best checkpoint."""

from __future__ import annotations

from pathlib import Path

from amir.checkpoint import Checkpoint
from amir.config import TrainSettings
from amir.dataset.manifest import Manifest
from amir.dataset.slices import middle_slice
from amir.inference.restorer import Restorer
from amir.panels import Panel, draw_panels


def draw_validation_picture(
    settings: TrainSettings, manifest: Manifest, folder: Path, best: Checkpoint
) -> Path:
    """validation.png in the run's folder."""
    restorer = Restorer.of(best)
    pairs = [
        middle_slice(settings.data.path, manifest, "validation", task)
        for task in settings.data.tasks
    ]
    panels = [
        Panel(p, restorer.restore_slice(p.degraded, p.modality, scale=p.scale)) for p in pairs
    ]
    title = f"validation of run {folder.name}, step {best.step}"
    return draw_panels(panels, folder / "validation.png", title=title)
