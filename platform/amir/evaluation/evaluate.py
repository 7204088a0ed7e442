"""The evaluation job: models and a split to scores, tables and a picture in one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amir import durable
from amir.checkpoint import Checkpoint
from amir.code_version import code_version
from amir.config import EvaluateSettings
from amir.dataset.manifest import Manifest, check_shards, read_manifest
from amir.dataset.slices import middle_slice
from amir.errors import InputError
from amir.evaluation.methods import (
    Contender,
    DegradedInput,
    GaussianFilter,
    Model,
    choose_gaussian_filter,
)
from amir.evaluation.provenance import check_unseen
from amir.evaluation.results import MethodRecord, Record, write_results
from amir.evaluation.scores import Comparison, Each, device_of, on_ray, score_split, tasks_of
from amir.evaluation.tables.as_csv import as_csv, comparisons_as_csv, patients_as_csv
from amir.evaluation.tables.as_text import (
    as_latex,
    as_markdown,
    details_as_markdown,
    patients_as_markdown,
)
from amir.evaluation.tables.numbers import ScoreTable, tabulate
from amir.inference.restorer import Restorer
from amir.panels import Panel, draw_panels
from amir.references import find_model


@dataclass(frozen=True)
class Evaluation:
    """The table as numbers, as the text people read first, and the folder with all the rest."""

    table: ScoreTable
    text: str
    folder: Path


@dataclass(frozen=True)
class Subjects:
    """What is evaluated: models by the names of their rows, and what readers must know of them."""

    manifest: Manifest
    models: Mapping[str, Checkpoint]
    references: Mapping[str, str]
    notes: tuple[str, ...]


def evaluate(
    settings: EvaluateSettings,
    *,
    each: Each = on_ray,
    report: Callable[[int, int], None] = lambda done, every: None,
) -> Evaluation:
    """Score every slice of the split with every model, on the Ray this process is connected to.

    each: where the work is done. report: called with how many scans are scored of how many. Scans
    that an earlier run of the same evaluation finished are not scored again.
    """
    subjects = check(settings)
    manifest = subjects.manifest
    folder = settings.data.absolute()
    check_shards(folder, manifest)
    tasks = tasks_of(manifest, settings.split)
    gaussian = choose_gaussian_filter(folder, manifest, tasks) if settings.gaussian_filter else None
    comparison = Comparison(
        folder, settings.out.absolute(), _contenders(subjects, gaussian), settings.keep_restored
    )
    scores = score_split(comparison, manifest, settings, each=each, report=report)
    names = [contender.name for contender in comparison.contenders]
    table = tabulate(scores, names, seed=settings.seed)
    notes = [*([gaussian.note()] if gaussian else []), *subjects.notes]
    text = as_markdown(table, notes=notes)
    _write_tables(settings.out, table, text, notes)
    if settings.picture:
        _draw(settings, subjects)
    write_results(settings.out, scores, _record(settings, subjects, comparison, gaussian, table))
    return Evaluation(table, text, settings.out)


def check(settings: EvaluateSettings) -> Subjects:
    """The dataset and the models; InputError where one need not wait for Ray to know what is wrong.

    That is a missing or damaged dataset or model, a model of other ranges, an empty split, a model
    that was, or may have been, trained on the patients of the split.
    """
    manifest = read_manifest(settings.data)
    if not manifest.of(settings.split):
        raise InputError(
            "invalid_dataset",
            f"the {settings.split} split of {settings.data} is empty; choose another --split",
        )
    references = _references(settings)
    models = {name: model for name, (_, model) in references.items()}
    notes = [check_unseen(name, model, manifest, settings) for name, model in models.items()]
    return Subjects(
        manifest,
        models,
        {name: reference for name, (reference, _) in references.items()},
        tuple(filter(None, notes)),
    )


def _references(settings: EvaluateSettings) -> dict[str, tuple[str, Checkpoint]]:
    """Row name -> reference and checkpoint. Only several models carry their reference."""
    found = {
        reference: find_model(
            reference, storage=settings.storage, tracking_uri=settings.tracking.uri
        )
        for reference in settings.models
    }
    if len(found) == 1:
        [(reference, only)] = found.items()
        return {_network(only).upper(): (reference, only)}
    return {
        f"{_network(model).upper()} ({reference})": (reference, model)
        for reference, model in found.items()
    }


def _network(model: Checkpoint) -> str:
    return str(model.settings["network"]["name"])


def _contenders(subjects: Subjects, gaussian: GaussianFilter | None) -> tuple[Contender, ...]:
    """The table's rows from above."""
    models = [
        Model(name, found.folder.absolute(), found.digest)
        for name, found in subjects.models.items()
    ]
    return (DegradedInput(), *([gaussian] if gaussian else []), *models)


def _write_tables(out: Path, table: ScoreTable, text: str, notes: Sequence[str]) -> None:
    for name, content in {
        "table.md": f"{text}\n{details_as_markdown(table)}",
        "table.tex": as_latex(table, notes=notes),
        "table.csv": as_csv(table),
        "patients.md": patients_as_markdown(table),
        "patients.csv": patients_as_csv(table),
        "comparisons.csv": comparisons_as_csv(table),
    }.items():
        durable.write_text(out / name, content)


def _record(
    settings: EvaluateSettings,
    subjects: Subjects,
    comparison: Comparison,
    gaussian: GaussianFilter | None,
    table: ScoreTable,
) -> Record:
    manifest = subjects.manifest
    return Record(
        split=settings.split,
        dataset=str(comparison.data),
        dataset_digest=manifest.dataset_digest,
        split_digest=manifest.split_digest,
        code_version=code_version(),
        device=device_of(settings),
        gaussian=gaussian.sigmas if gaussian else None,
        skipped=table.constant,
        notes=subjects.notes,
        methods=tuple(
            _method_record(subjects, comparison, place)
            for place in range(len(comparison.contenders))
        ),
    )


def _method_record(subjects: Subjects, comparison: Comparison, place: int) -> MethodRecord:
    name = comparison.contenders[place].name
    if name not in subjects.models:
        return MethodRecord(name=name)
    model = subjects.models[name]
    restored = comparison.restored(place)
    return MethodRecord(
        name=name,
        digest=model.digest,
        reference=subjects.references[name],
        folder=str(model.folder.absolute()),
        network=_network(model),
        parameters=sum(weight.numel() for weight in model.network().parameters()),
        step=model.step,
        dataset_digest=str(model.settings["dataset_digest"]),
        restored=str(restored.relative_to(comparison.out)) if restored else None,
    )


def _draw(settings: EvaluateSettings, subjects: Subjects) -> None:
    """One slice per task, from the middle of the split, by the first model."""
    name, model = next(iter(subjects.models.items()))
    restorer = Restorer.of(model, device=device_of(settings))
    folder, split = settings.data.absolute(), settings.split
    pairs = [
        middle_slice(folder, subjects.manifest, split, task)
        for task in tasks_of(subjects.manifest, split)
    ]
    panels = [
        Panel(p, restorer.restore_slice(p.degraded, p.modality, scale=p.scale)) for p in pairs
    ]
    draw_panels(panels, settings.out / "picture.png", title=f"{name}, {split} split")
