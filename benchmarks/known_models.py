"""Networks nobody trained whose order of merit is known, and phantoms to judge them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from amir import checkpoint
from amir.checkpoint import Checkpoint
from amir.config import IntensityScale, PrepareSettings
from amir.dataset.manifest import read_manifest
from amir.dataset.prepare import prepare
from amir.modality import Modality
from amir.models.registry import build_model
from amir.phantoms import write_phantom_cohort

TINY = {
    "dim": 4,
    "blocks": (1, 1, 1, 1),
    "refinement_blocks": 1,
    "heads": (1, 1, 1, 1),
    "instructions": 4,
}
# One patient per task, and networks that nobody trained: only PSNR and NaN are to decide.
LENIENT: dict[str, Any] = {
    "accept_few_patients": True,
    "ct_shift_hu": 1e3,
    "pet_activity": 10.0,
    "concordance": -1.0,
}


def phantom_dataset(folder: Path) -> Path:
    """A dataset folder of small phantoms, one patient per task in its test split; seconds."""
    cohort = write_phantom_cohort(
        folder / "scans",
        subjects_per_modality={"train": 2, "validation": 1, "test": 1},
        size=48,
        slices={Modality.MRI: 10, Modality.CT: 4, Modality.PET: 24},
    )
    prepare(PrepareSettings(cohort=cohort, out=folder / "dataset"), each=map)
    return folder / "dataset"


def save_off_by(error: float, folder: Path, dataset: Path) -> Checkpoint:
    """A checkpoint that adds an error of so many times a fixed one to every slice."""
    torch.manual_seed(0)
    network = build_model("amir", **TINY)
    with torch.no_grad():
        network.output.weight.mul_(error)
    return save(network.state_dict(), folder, dataset)


def save(weights: dict[str, torch.Tensor], folder: Path, dataset: Path) -> Checkpoint:
    """A checkpoint of these weights of the tiny network."""
    settings = checkpoint.describe(
        "amir",
        TINY,
        intensity=IntensityScale(),
        dataset_digest=read_manifest(dataset).dataset_digest,
        code_version="test",
        step=1,
    )
    return checkpoint.save(folder, weights=weights, settings=settings, scores={})


def enthrone(registry: Any, model: Checkpoint, run_id: str) -> int:
    """Make a model champion without asking the gate; the number of its version."""
    from amir.model_registry.versions import CHAMPION, DIGEST, VERDICT

    tags = {DIGEST: model.digest, VERDICT: "accepted"}
    version = registry.register(model.folder, run_id=run_id, tags=tags)
    registry.point(CHAMPION, version)
    return int(version.number)
