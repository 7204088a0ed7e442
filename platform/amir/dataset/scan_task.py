"""One scan of the cohort to its shard, and whether what an earlier run left of it still holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amir import durable
from amir.config import PrepareSettings
from amir.dataset.cohort import CohortRow, Split
from amir.dataset.cutting import cut_pair
from amir.dataset.pairs import read_pair, scan_id
from amir.dataset.shard import write_shard
from amir.dataset.sources import source_digest
from amir.errors import InputError


@dataclass(frozen=True)
class ScanTask:
    """One scan to prepare: its place in the cohort, and where its shard goes."""

    number: int
    split: Split
    row: CohortRow
    settings: PrepareSettings
    folder: Path

    @property
    def shard(self) -> str:
        return f"{self.split}/{self.number:05d}.parquet"

    @property
    def record(self) -> Path:
        return self.folder / "records" / f"{self.number:05d}.json"


def prepare_scan(task: ScanTask) -> dict[str, Any]:
    """Write one scan's shard and return its record; a scan that cannot be used yields a refusal."""
    source = source_digest(task.row)
    try:
        pair = read_pair(task.row, task.settings)
        cut = cut_pair(pair, task.row, task.settings)
    except InputError as error:
        refused = {"code": error.code, "reason": str(error)}
        return {"number": task.number, "source": source, "refused": refused}
    rows = write_shard(task.folder / task.shard, cut.rows)
    record = {
        "number": task.number,
        "source": source,
        "scan_id": scan_id(pair.target),
        "rows": rows,
        "air": cut.air,
        "sha256": durable.sha256(task.folder / task.shard),
        "parameters": pair.degradation,
        "voxels": pair.target.voxels.size,
        "clipped": pair.clipped(),
        "prints": cut.prints.astype(">u8").tobytes().hex(),
    }
    durable.write_text(task.record, json.dumps(record))
    return record


def digest_source(task: ScanTask) -> dict[str, Any]:
    """The scan's files as they are now."""
    return {"number": task.number, "source": source_digest(task.row)}


def check_finished(task: ScanTask) -> dict[str, Any]:
    """The record of a finished scan; one without outcome where its files or its shard changed."""
    record: dict[str, Any] = json.loads(task.record.read_text())
    shard = task.folder / task.shard
    kept = shard.is_file() and durable.sha256(shard) == record["sha256"]
    if kept and source_digest(task.row) == record["source"]:
        return record
    return {"number": task.number, "changed": True}
