"""How runs stand, from their folders alone: while they train, after they ended, or were killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from amir import checkpoint
from amir.command_line import read_yaml
from amir.config import StatusSettings
from amir.errors import InputError
from amir.references import best_step
from amir.training.progress import duration, progress_line
from amir.training.run_folder import RunFolder

SILENT_SECONDS = 120  # longer than start-up and a validation of the examples take


def statuses(settings: StatusSettings) -> Iterator[str]:
    """Lines for each run of the storage, the one of the latest news last; or of one run."""
    for folder in run_folders(settings):
        yield _status(folder)


def run_folders(settings: StatusSettings) -> list[RunFolder]:
    found = [RunFolder(file.parent) for file in settings.storage.glob("*/settings.yaml")]
    if settings.run is not None:
        found = [folder for folder in found if folder.name == settings.run]
    if not found:
        what = f"run {settings.run}" if settings.run else "run"
        raise InputError(
            "unknown_model", f"no {what} in {settings.storage}; say where with --storage"
        )
    return sorted(found, key=_last_news)


def _status(folder: RunFolder) -> str:
    started = read_yaml(folder.settings)
    rows = folder.rows()
    told = (
        progress_line(rows, steps=started["steps"], batch=started["batch"])
        if rows
        else f"step 0/{started['steps']}"
    )
    return f"{folder.name}: {_state(folder)}\n  {told}\n  {_checkpoints(folder.path)}"


def _state(folder: RunFolder) -> str:
    """The state, and for how long a run that says it is running has said nothing."""
    state = folder.status() or "not started"
    silent = time.time() - _last_news(folder)
    if state == "running" and silent > SILENT_SECONDS:
        return (
            f"running, silent for {duration(silent)}: starting, validating, or killed; the "
            "command that started it goes on where it was"
        )
    return state


def _checkpoints(folder: Path) -> str:
    saved = checkpoint.saved_steps(folder / "checkpoints")
    if not saved:
        return "no checkpoint yet"
    best = best_step(folder)
    chosen = "" if best is None else f", best at step {best}"
    return f"checkpoints at steps {', '.join(map(str, saved))}{chosen}"


def _last_news(folder: RunFolder) -> float:
    """Seconds since 1970 of the last line of metrics, else of the start."""
    file = folder.metrics if folder.metrics.is_file() else folder.settings
    return file.stat().st_mtime
