"""A trained network to the model that people use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from amir.config.section import PositiveFloat, Section
from amir.config.tracking import TrackingSettings


class GateSettings(Section):
    """What a candidate must hold to take the place of what an alias points to."""

    tolerance_db: Annotated[float, Field(ge=0)] = 0.05
    """How much PSNR a task may lose: the lower 95 % bound of its gain is above minus this."""
    ct_shift_hu: PositiveFloat = 1.0
    """Largest mean shift of a CT scan's flat regions, HU."""
    pet_activity: PositiveFloat = 0.01
    """Largest relative change of a PET scan's total activity."""
    concordance: Annotated[float, Field(ge=-1, le=1)] = 0.94
    """Lin's concordance that SUVmax and SUVmean of hot regions must reach."""
    latency_ms: PositiveFloat | None = None
    """Longest time for one slice of 256 x 256 on this device; null: measured, not judged."""
    accept_few_patients: bool = False
    """Let means decide where a task has fewer than five patients; the card then says so."""


class PromoteSettings(Section):
    """jobs/promote.py: let an alias point to a model that is no worse than what it points to."""

    model: str | None = None
    """The candidate: a checkpoint folder, RUN, RUN@STEP or models:/amir/3."""
    data: Path | None = None
    """Dataset folder whose split judges candidate and rival."""
    split: Literal["validation", "test"] = "test"
    """Split to judge on; always the same one for models that are to be compared."""
    alias: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] = "champion"
    """The alias to move."""
    gate: GateSettings = GateSettings()
    other_dataset: bool = False
    """Allow models that were trained on another dataset than --data."""
    training_data: tuple[Path, ...] = ()
    """Dataset folders that such models were trained on: no patient may be in both."""
    seed: int = 0
    """Draws the resampled patients of the intervals."""
    dry_run: bool = False
    """Judge and say the verdict; register nothing, move nothing."""
    rollback: bool = False
    """Point the alias back to the version it pointed to before; judges nothing."""
    archive: Annotated[int, Field(ge=1)] | None = None
    """Take this version out of use; refused while an alias points to it."""
    storage: Path = Path("storage")
    """Where runs named by --model lie, and promotions/ for what judging leaves."""
    tracking: TrackingSettings = TrackingSettings()
    cpus: PositiveFloat = 1.0
    """CPUs of each scoring worker."""
    gpu: bool = False
    """Score on GPUs."""

    @model_validator(mode="after")
    def _one_thing_is_asked(self) -> PromoteSettings:
        if self.rollback and self.archive is not None:
            raise ValueError("--rollback and --archive are two things: ask for one at a time")
        if not self.rollback and self.archive is None and None in (self.model, self.data):
            raise ValueError("--model (or --run) and --data are needed to promote a model")
        return self


class ExportSettings(Section):
    """jobs/export.py: one folder that restores without MLflow and without this storage."""

    model: str
    """Model reference: a checkpoint folder, RUN, RUN@STEP or models:/amir@champion."""
    out: Path
    """Folder to write; refused if it exists."""
    program: bool = True
    """Add the network as a program of torch.export, which runs without this library."""
    storage: Path = Path("storage")
    """Where a run named by --model lies."""
    tracking: TrackingSettings = TrackingSettings()
