"""Settings of a space trained in full, each once: their learning curves in one Parquet file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from amir import durable, tracking
from amir.command_line import flatten, validate
from amir.config import StudySettings, TrackingSettings, TrainSettings
from amir.dataset.manifest import Manifest, check_shards, read_manifest
from amir.errors import InputError
from amir.sweeping.cube import spread
from amir.sweeping.record import Rung, run_name
from amir.sweeping.spaces import Parameters, check_space, trial_settings
from amir.training.alone import train_alone
from amir.training.divergence import DivergedError
from amir.training.run_folder import RunFolder

FORMAT = 1
NOTHING = Rung(0, math.nan, math.nan, {}, 0.0)  # the row of a curve that ended before a validation
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Curve:
    """What became of one setting. diverged: its loss was no number before the last step."""

    number: int
    parameters: Mapping[str, Any]
    rungs: tuple[Rung, ...]
    diverged: bool = False


def curves_file(settings: StudySettings) -> Path:
    return settings.storage / settings.name / "curves.parquet"


def train_curves(settings: StudySettings, *, report: Told = lambda done, every: None) -> Path:
    """Train what is not trained yet; a killed study goes on, in the midst of a training too.

    report: called with how many settings are trained of how many.
    """
    check_space(settings)
    file, common = curves_file(settings), flatten(settings.train)
    manifest = read_manifest(settings.train.data.path)
    about = _about(settings, manifest)
    chosen = spread(settings.space, common, settings.trials, seed=settings.seed)
    curves = _known(file, about, chosen)
    left = sorted(set(range(len(chosen))) - {curve.number for curve in curves})
    if left:
        check_shards(settings.train.data.path, manifest)
    report(len(chosen) - len(left), len(chosen))
    for done, number in enumerate(left, start=len(chosen) - len(left) + 1):
        curves.append(_train(settings, number, chosen[number]))
        write_curves(file, curves, about)
        report(done, len(chosen))
    return file


def read_curves(file: Path) -> list[Curve]:
    """In the order of their numbers. InputError if there is no such file, or a newer one."""
    if not file.is_file():
        raise InputError("missing_file", f"no curves in {file}; train them with tune/study.py")
    table = pq.read_table(file)
    if (written := json.loads(table.schema.metadata[b"amir"])["format"]) > FORMAT:
        message = f"{file} is of format {written}, this code reads {FORMAT}; update it"
        raise InputError("invalid_setting", message)
    rows = sorted(table.to_pylist(), key=lambda row: (row["number"], row["step"]))
    return [
        _curve(number, list(own)) for number, own in groupby(rows, key=lambda row: row["number"])
    ]


def write_curves(file: Path, curves: Sequence[Curve], about: Mapping[str, Any]) -> None:
    """One row for each validation of each setting; replaces the file."""
    rows = [
        {
            "number": curve.number,
            "parameters": _spelled(curve.parameters),
            "diverged": curve.diverged,
            **vars(rung),
            "gains": json.dumps(dict(rung.gains)),
        }
        for curve in curves
        for rung in curve.rungs or (NOTHING,)
    ]
    metadata = {"amir": json.dumps({"format": FORMAT, **about})}
    with durable.new_file(file) as beside:
        pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(metadata), beside)


def _training(settings: StudySettings, number: int, parameters: Mapping[str, Any]) -> TrainSettings:
    own = {
        "storage": settings.storage / settings.name,
        "run": run_name(number),
        "tracking": TrackingSettings(uri="none"),
    }
    return trial_settings(settings.train, parameters).model_copy(update=own)


def _train(settings: StudySettings, number: int, parameters: Parameters) -> Curve:
    """Train, or read what was trained when the study was killed before it could say so."""
    training = _training(settings, number, parameters)
    folder = RunFolder(training.storage / run_name(number))
    diverged = False
    if folder.status() != "finished":
        try:
            train_alone(training)
        except DivergedError:
            diverged = True
    return Curve(number, parameters, tuple(_rungs(folder, training.batch)), diverged)


def _rungs(folder: RunFolder, batch: int) -> Iterator[Rung]:
    """The validations of a run. seconds: of the steps until then, validations left out."""
    seconds = 0.0
    for row in folder.rows():
        if tracking.RATE in row:
            seconds += batch / row[tracking.RATE]
        if tracking.GAIN in row:
            gains = {
                name.split("/")[1]: value
                for name, value in row.items()
                if name.count("/") == 2 and name.endswith("/gain")
            }
            objective, minimum = row[tracking.GAIN], row[tracking.GAIN_WORST]
            yield Rung(row["step"], objective, minimum, gains, seconds)


def _about(settings: StudySettings, manifest: Manifest) -> dict[str, Any]:
    """What the curves have in common; another training is another study."""
    return {
        "train": settings.train.science(),
        "dataset_digest": manifest.dataset_digest,
    }


def _known(file: Path, about: Mapping[str, Any], chosen: Sequence[Parameters]) -> list[Curve]:
    """The curves trained so far. InputError("run_exists") if they are of another study."""
    if not file.is_file():
        return []
    curves = read_curves(file)
    written = json.loads(pq.read_schema(file).metadata[b"amir"])
    # Settings that are newer than the curves have their defaults.
    training = written["train"] | {"data": {**written["train"]["data"], "path": "elsewhere"}}
    written["train"] = validate(TrainSettings, training).science()
    other = [name for name, value in about.items() if written.get(name) != value]
    own = {curve.number: _spelled(curve.parameters) for curve in curves}
    if any(own.get(number, told) != told for number, told in enumerate(map(_spelled, chosen))):
        other.append("space or seed")
    if other:
        raise InputError(
            "run_exists",
            f"{file} holds curves with another {', '.join(other)}; choose another --name",
        )
    return curves


def _spelled(parameters: Mapping[str, Any]) -> str:
    return json.dumps(dict(parameters))


def _curve(number: int, rows: Sequence[Mapping[str, Any]]) -> Curve:
    rungs = tuple(
        Rung(
            row["step"],
            row["objective"],
            row["minimum"],
            json.loads(row["gains"]),
            row["seconds"],
        )
        for row in rows
        if row["step"]
    )
    return Curve(number, json.loads(rows[0]["parameters"]), rungs, rows[0]["diverged"])
