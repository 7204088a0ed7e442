"""The evaluation job: models and a split to scores, a table and a picture in one folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from amir import durable
from amir.checkpoint import Checkpoint
from amir.config import EvaluateSettings
from amir.dataset.manifest import Manifest, check_shards, read_manifest
from amir.dataset.slices import middle_slice
from amir.errors import InputError
from amir.evaluation.methods import BASELINE, GAUSSIAN, choose_gaussian_filter
from amir.evaluation.scores import Comparison, score_split, tasks_of
from amir.evaluation.tables import ScoreTable, as_csv, as_markdown, tabulate
from amir.inference.restorer import Restorer
from amir.panels import Panel, draw_panels
from amir.references import find_model


@dataclass(frozen=True)
class Evaluation:
    """The table as numbers and as text, and the folder with scores.parquet, table.md, table.csv and
    picture.png.
    """

    table: ScoreTable
    text: str
    folder: Path


def evaluate(
    settings: EvaluateSettings, *, report: Callable[[int, int], None] = lambda done, every: None
) -> Evaluation:
    """Score every slice of the split with every model, on the Ray this process is connected to.

    report: called with how many scans are scored of how many.
    """
    manifest, models = check(settings)
    folder = settings.data.absolute()
    check_shards(folder, manifest)
    tasks = tasks_of(manifest, settings.split)
    gaussian = choose_gaussian_filter(folder, manifest, tasks) if settings.gaussian_filter else None
    comparison = Comparison(
        folder, tuple((name, found.folder.absolute()) for name, found in models.items()), gaussian
    )
    scores = score_split(comparison, manifest, settings, report=report)
    table = tabulate(scores, [BASELINE, *([GAUSSIAN] if gaussian else []), *models])
    text = as_markdown(table) + (f"\n{gaussian.note()}" if gaussian else "")
    _write(settings.out, scores, table, text)
    _draw(settings, manifest, models)
    return Evaluation(table, text, settings.out)


def check(settings: EvaluateSettings) -> tuple[Manifest, dict[str, Checkpoint]]:
    """The dataset's manifest, and the models by the names of their rows.

    InputError where one need not wait for Ray to know what is wrong.
    """
    manifest = read_manifest(settings.data)
    if not manifest.of(settings.split):
        raise InputError(
            "invalid_dataset",
            f"the {settings.split} split of {settings.data} is empty; choose another --split",
        )
    return manifest, _models(settings)


def _models(settings: EvaluateSettings) -> dict[str, Checkpoint]:
    """Row name -> checkpoint. A single model is called AMIR; several also carry their reference."""
    found = {
        reference: find_model(
            reference, storage=settings.storage, tracking_uri=settings.tracking.uri
        )
        for reference in settings.models
    }
    if not found:
        raise InputError("invalid_setting", "models is empty: name at least one with --models")
    if len(found) == 1:
        (only,) = found.values()
        return {_network(only): only}
    return {f"{_network(model)} ({reference})": model for reference, model in found.items()}


def _network(model: Checkpoint) -> str:
    return str(model.settings["network"]["name"]).upper()


def _write(folder: Path, scores: pa.Table, table: ScoreTable, text: str) -> None:
    with durable.new_file(folder / "scores.parquet") as beside:
        pq.write_table(scores, beside)
    durable.write_text(folder / "table.md", text)
    durable.write_text(folder / "table.csv", as_csv(table))


def _draw(settings: EvaluateSettings, manifest: Manifest, models: dict[str, Checkpoint]) -> None:
    """One slice per task, from the middle of the split, by the first model."""
    name, model = next(iter(models.items()))
    restorer = Restorer.of(model, device="cuda" if settings.gpu else "cpu")
    folder = settings.data.absolute()
    pairs = [
        middle_slice(folder, manifest, settings.split, task)
        for task in tasks_of(manifest, settings.split)
    ]
    panels = [
        Panel(p, restorer.restore_slice(p.degraded, p.modality, scale=p.scale)) for p in pairs
    ]
    draw_panels(panels, settings.out / "picture.png", title=f"{name}, {settings.split} split")
