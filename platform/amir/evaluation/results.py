"""What an evaluation leaves in its folder, to be read by whatever comes after it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from amir import durable
from amir.dataset.cohort import Split
from amir.errors import InputError
from amir.modality import Modality

FORMAT = 1


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True)


class MethodRecord(_Entry):
    """A row of the table. What only models have is empty or null for the others."""

    name: str
    digest: str = ""
    reference: str = ""
    folder: str = ""
    """The checkpoint folder."""
    network: str = ""
    parameters: int | None = None
    step: int | None = None
    dataset_digest: str = ""
    """Of the dataset that the model was trained on."""
    restored: str | None = None
    """Below the evaluation's folder, where its restored slices are kept."""


class Record(_Entry):
    """evaluation.json: what was compared on what, methods in the order of the table."""

    format: int = FORMAT
    split: Split
    dataset: str
    dataset_digest: str
    split_digest: str
    code_version: str
    device: str
    gaussian: Mapping[Modality, float] | None
    skipped: Mapping[Modality, int]
    """Slices with a constant target, which have no PSNR and no SSIM."""
    notes: tuple[str, ...]
    methods: tuple[MethodRecord, ...]


def write_results(out: Path, scores: pa.Table, record: Record) -> None:
    """scores.parquet, and evaluation.json last: it says that the scores are all there."""
    with durable.new_file(out / "scores.parquet") as beside:
        pq.write_table(scores, beside, write_page_checksum=True)
    durable.write_text(out / "evaluation.json", record.model_dump_json(indent=1) + "\n")


def read_scores(out: Path) -> pa.Table:
    """scores.parquet of an evaluation's folder; see `amir.evaluation.scan_scores.SCHEMA`."""
    _check_is_there(out)
    return pq.read_table(out / "scores.parquet")


def read_record(out: Path) -> Record:
    """evaluation.json of an evaluation's folder."""
    _check_is_there(out)
    try:
        record = Record.model_validate_json((out / "evaluation.json").read_text(encoding="utf-8"))
    except ValidationError as error:
        raise InputError(
            "unreadable", f"{out / 'evaluation.json'} is damaged: {error.errors()[0]['msg']}"
        ) from None
    if record.format > FORMAT:
        raise InputError(
            "unsupported",
            f"evaluation {out} has format {record.format}, this version reads up to {FORMAT}: "
            "update the platform",
        )
    return record


def _check_is_there(out: Path) -> None:
    if not (out / "evaluation.json").is_file():
        raise InputError(
            "missing_file",
            f"{out} holds no finished evaluation; run jobs/evaluate.py with --out {out} first",
        )
