"""Whether a model may be scored on a split: it must not have been trained on these patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amir.checkpoint import Checkpoint
from amir.config import EvaluateSettings
from amir.dataset.cohort import Split
from amir.dataset.manifest import Manifest, read_manifest
from amir.errors import InputError


def check_unseen(
    name: str, model: Checkpoint, manifest: Manifest, settings: EvaluateSettings
) -> str:
    """What a reader of the scores must know of the model's training data; mostly nothing.

    A model of this very dataset is at home: its splits share no patient. InputError for one of
    another dataset, unless settings.other_dataset allows it; and always where that dataset is named
    in settings.training_data and its training split holds patients or scans that are to be scored.
    """
    trained_on = str(model.settings["dataset_digest"])
    if trained_on == manifest.dataset_digest:
        return _of_own_dataset(name, settings.split)
    training = _training_dataset(trained_on, settings.training_data)
    if training is not None:
        _check_apart(name, training, manifest, settings.split)
    if not settings.other_dataset:
        raise InputError(
            "invalid_dataset",
            f"{name} was trained on dataset {trained_on[:12]}, not on {settings.data} "
            f"({manifest.dataset_digest[:12]}); {_known(training)}. Prepare and train on one "
            "dataset; or allow it with --other-dataset true, which the table then says, and name "
            "what it was trained on with --training-data to have the patients compared",
        )
    return f"{name} was trained on another dataset ({trained_on[:12]}): {_known(training)}."


def _of_own_dataset(name: str, split: Split) -> str:
    if split == "test":
        return ""
    used = "trained" if split == "train" else "chosen"
    return f"{name} was {used} on this {split} split: its scores flatter it."


def _known(training: Manifest | None) -> str:
    if training is None:
        return "whether it was trained on patients of this split is not known"
    return "none of its training patients are in this split, by their names and scans"


def _training_dataset(digest: str, folders: Sequence[str]) -> Manifest | None:
    """The manifest of what a model was trained on, if it is one of the named folders."""
    manifests = (read_manifest(Path(folder)) for folder in folders)
    return next((found for found in manifests if found.dataset_digest == digest), None)


def _check_apart(name: str, training: Manifest, manifest: Manifest, split: Split) -> None:
    seen = training.of("train")
    patients = {shard.patient_id for shard in seen}
    scans = {shard.scan_id for shard in seen}
    both = {s.patient_id for s in manifest.of(split) if s.patient_id in patients}
    both |= {s.patient_id for s in manifest.of(split) if s.scan_id in scans}
    if both:
        raise InputError(
            "invalid_dataset",
            f"{name} was trained on patients of this {split} split: {', '.join(sorted(both))}; "
            "score it on others (other people of the same name need other patient_ids)",
        )
