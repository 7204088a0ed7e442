"""One spelling of "which model", read in one place.

A reference is a checkpoint folder, RUN, RUN@STEP, models:/amir@champion, models:/amir/3, or at
least 12 hex digits of a digest.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from amir import checkpoint
from amir.checkpoint import Checkpoint
from amir.config import TrackingSettings
from amir.errors import InputError
from amir.model_registry.versions import find_version


def find_model(reference: str, *, storage: Path, tracking_uri: str | None = None) -> Checkpoint:
    """The checkpoint that a reference names; RUN alone is its best one, else its latest."""
    if reference.startswith("models:/"):
        return _of_registry(reference, TrackingSettings(uri=tracking_uri), storage)
    if (Path(reference) / "settings.yaml").is_file() or "/" in reference:
        return _of_folder(Path(reference))
    run, _, step = reference.partition("@")
    if (storage / run / "checkpoints").is_dir():
        return _of_run(storage / run, step)
    if re.fullmatch(r"[0-9a-f]{12,64}", reference):
        return _of_digest(reference, storage)
    raise InputError(
        "unknown_model",
        f"no run {run!r} in {storage}; a model is a checkpoint folder, RUN, RUN@STEP, "
        "models:/amir@champion or 12 hex digits of a digest. Runs here: "
        + (", ".join(_runs(storage)) or "none"),
    )


def best_step(run: Path) -> int | None:
    """The step whose checkpoint validated best, as the run's training recorded it; None yet."""
    marker = run / "checkpoints" / "best"
    return int(marker.read_text()) if marker.is_file() else None


def _of_registry(reference: str, settings: TrackingSettings, storage: Path) -> Checkpoint:
    """A registered version; refused if it holds another model than its entry says."""
    registry, version = find_version(reference, settings, storage)
    found = checkpoint.load(registry.download(version))
    if version.digest not in ("", found.digest):  # without a digest: registered by hand
        raise InputError(
            "invalid_checkpoint",
            f"{reference} is registered as model {version.digest[:12]}, its files are model "
            f"{found.digest[:12]}: they have been exchanged; use neither",
        )
    return replace(found, version=str(version.number))


def _of_folder(folder: Path) -> Checkpoint:
    if not folder.is_dir():
        raise InputError(
            "unknown_model",
            f"there is no checkpoint folder {folder}; a run's checkpoint is RUN or RUN@STEP",
        )
    if (folder / "checkpoints").is_dir():
        return _of_run(folder, "")
    return checkpoint.load(folder)


def _of_run(run: Path, step: str) -> Checkpoint:
    folder = run / "checkpoints"
    if step:
        return _of_step(run, step)
    best = best_step(run)
    found = checkpoint.latest(folder) if best is None else checkpoint.load(folder / str(best))
    if found is None:
        raise InputError("unknown_model", f"run {run.name} has no checkpoint yet; train it first")
    return found


def _of_step(run: Path, step: str) -> Checkpoint:
    saved = checkpoint.saved_steps(run / "checkpoints")
    if not step.isdecimal() or int(step) not in saved:
        raise InputError(
            "unknown_model",
            f"run {run.name} has no checkpoint at step {step!r}; it has "
            + (", ".join(map(str, saved)) or "none"),
        )
    return checkpoint.load(run / "checkpoints" / str(int(step)))


def _of_digest(digest: str, storage: Path) -> Checkpoint:
    for run in _runs(storage):
        folder = storage / run / "checkpoints"
        for step in checkpoint.saved_steps(folder):
            stated = checkpoint.stated_digest(folder / str(step))
            if stated is not None and stated.startswith(digest):
                return checkpoint.load(folder / str(step))
    raise InputError(
        "unknown_model",
        f"no checkpoint in {storage} has a digest {digest}...; name a checkpoint folder or a RUN",
    )


def _runs(storage: Path) -> list[str]:
    return sorted(f.parent.name for f in storage.glob("*/checkpoints")) if storage.is_dir() else []
