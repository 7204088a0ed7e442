"""What a report is about: one model of one evaluation, with all that has to be read for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from amir.checkpoint import Checkpoint, load
from amir.config import ReportSettings
from amir.dataset.manifest import Manifest, read_manifest
from amir.errors import InputError
from amir.evaluation.quantities.measure import Restore, restored_by, stored_in
from amir.evaluation.results import MethodRecord, Record, read_record, read_scores
from amir.evaluation.tables.numbers import ScoreTable, tabulate
from amir.inference.restorer import Restorer


@dataclass(frozen=True, eq=False)
class Subject:
    """The evaluation in `folder`, its dataset in `data`, and the model looked at."""

    folder: Path
    data: Path
    record: Record
    method: MethodRecord
    model: Checkpoint
    manifest: Manifest
    scores: pa.Table
    table: ScoreTable

    def restorer(self, *, gpu: bool) -> Restorer:
        return Restorer.of(self.model, device="cuda" if gpu else "cpu")

    def restore(self, *, gpu: bool) -> Restore:
        """The restored slices: kept by the evaluation, else made again."""
        if self.method.restored is not None:
            return stored_in(self.folder / self.method.restored)
        return restored_by(self.restorer(gpu=gpu))


def read_subject(settings: ReportSettings) -> Subject:
    """InputError where the evaluation, its dataset or the model is missing or is another one."""
    record = read_record(settings.evaluation)
    method = _method(record, settings.method)
    data = settings.data or Path(record.dataset)
    manifest = read_manifest(data)
    if manifest.dataset_digest != record.dataset_digest:
        raise InputError(
            "invalid_dataset",
            f"{data} (digest {manifest.dataset_digest[:12]}) is not the dataset that was evaluated "
            f"({record.dataset_digest[:12]}); say where that is with --data",
        )
    model = load(Path(method.folder))
    if model.digest != method.digest:
        raise InputError(
            "unknown_model",
            f"the checkpoint {model.folder.name} (digest {model.digest[:12]}) is no longer the one "
            f"that was evaluated ({method.digest[:12]}); evaluate again",
        )
    scores = read_scores(settings.evaluation)
    table = tabulate(scores, [each.name for each in record.methods])
    return Subject(settings.evaluation, data, record, method, model, manifest, scores, table)


def _method(record: Record, name: str | None) -> MethodRecord:
    models = {method.name: method for method in record.methods if method.digest}
    if name is None and models:
        return next(iter(models.values()))
    if name not in models:
        raise InputError(
            "invalid_setting",
            f"the evaluation has no model {name!r}; choose from {', '.join(models) or 'none'}",
        )
    return models[name]
