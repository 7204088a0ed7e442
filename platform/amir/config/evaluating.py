"""A trained network to scores, figures, pages and the paper's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from amir.config.section import PositiveFloat, Section
from amir.config.tracking import TrackingSettings
from amir.config.training import WorkerSettings


class EvaluateSettings(Section):
    """jobs/evaluate.py: test slices to scores and the paper's table."""

    data: Path
    """Dataset folder."""
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    """Model references: a checkpoint folder, RUN, RUN@STEP or models:/amir@champion."""
    out: Path
    """Folder for scores, tables and the picture."""
    split: Literal["train", "validation", "test"] = "test"
    """Split to score."""
    storage: Path = Path("storage")
    """Where runs named by --models lie."""
    tracking: TrackingSettings = TrackingSettings()
    gaussian_filter: bool = True
    """Add a Gaussian filter, its width chosen on the training split, as a floor to beat."""
    keep_restored: bool = False
    """Keep every restored slice below --out, on storage that all nodes share."""
    picture: bool = True
    """Draw one slice per task as the first model restores it."""
    other_dataset: bool = False
    """Allow models that were trained on another dataset than this one."""
    training_data: tuple[str, ...] = ()
    """Dataset folders that such models were trained on: no patient may be in both."""
    seed: int = 0
    """Draws the resampled patients of the intervals and tests."""
    cpus: PositiveFloat = 1.0
    """CPUs of each scoring worker."""
    gpu: bool = False
    """Score on GPUs."""


class InterferenceSettings(Section):
    batches: Annotated[int, Field(ge=0)] = 8
    """Batches of each task from the training split, at least 2; 0 leaves interference out."""
    batch: Annotated[int, Field(ge=1)] = 4
    """Crops of a batch."""
    crop: Annotated[int, Field(ge=16, multiple_of=8)] = 128
    """Height and width of the crops in pixels."""


class InterpretSettings(Section):
    """jobs/interpret.py: what a model's routing does, in figures and tables."""

    model: str
    """Model reference: a checkpoint folder, RUN, RUN@STEP or models:/amir@champion."""
    data: Path
    """Dataset folder."""
    out: Path
    """Folder for the figures (SVG) and tables (Parquet)."""
    split: Literal["train", "validation", "test"] = "test"
    """Split whose slices are looked at."""
    slices: Annotated[int, Field(ge=1)] = 24
    """Slices per task, evenly spread over the split; always the same ones."""
    interference: InterferenceSettings = InterferenceSettings()
    seed: int = 0
    """Draws the places of the crops."""
    storage: Path = Path("storage")
    """Where a run named by --model lies."""
    tracking: TrackingSettings = TrackingSettings()
    gpu: bool = False
    """Use a GPU."""


class ReportSettings(Section):
    """jobs/report.py: an evaluation to one HTML page with figures, quantities and failures."""

    evaluation: Path
    """Folder that jobs/evaluate.py wrote with --out; report.html is written into it."""
    method: str | None = None
    """The model that the page is about, by its name in the tables; null takes the first."""
    data: Path | None = None
    """Dataset folder; null takes the one that was evaluated."""
    slices: Annotated[int, Field(ge=1)] = 24
    """Slices per task whose routing is looked at."""
    interference: InterferenceSettings = InterferenceSettings()
    seed: int = 0
    """Draws the places of the crops for the interference."""
    gpu: bool = False
    """Use a GPU."""


TableName = Literal["1", "2", "3", "S1"]

FigureName = Literal["Ia", "Ib", "II", "IIIa", "IIIb"]


class PaperSettings(Section):
    """jobs/paper.py: the paper's tables and figures, from a dataset folder alone."""

    data: Path
    """Dataset folder made by jobs/prepare_dataset.py."""
    out: Path
    """Folder for tables, figures and the scores behind them."""
    storage: Path = Path("storage")
    """Folder of all runs; a finished run of a row's settings is used again."""
    tables: tuple[TableName, ...] = ()
    """1, 2, 3, S1 (supplement, Table I); with neither tables nor figures named: all."""
    figures: tuple[FigureName, ...] = ()
    """Ia, Ib, II, IIIa, IIIb; with neither tables nor figures named: all."""
    miniature: bool = False
    """Small networks and few steps: shows that it works, says of itself: not comparable."""
    train: bool = True
    """Train the rows that have no finished run yet; without, they are said to be not trained."""
    split: Literal["validation", "test"] = "test"
    """Split to score and to draw."""
    workers: WorkerSettings = WorkerSettings()
    tracking: TrackingSettings = TrackingSettings()

    @property
    def wanted(self) -> tuple[tuple[TableName, ...], tuple[FigureName, ...]]:
        """Tables and figures to make."""
        if self.tables or self.figures:
            return self.tables, self.figures
        return get_args(TableName), get_args(FigureName)
