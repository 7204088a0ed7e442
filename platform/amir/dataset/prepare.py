"""Scanner files to shards: every scan of the cohort becomes one Parquet file, on as many CPUs as
Ray has.

The work happens in a hidden folder beside the dataset, which is renamed when it is whole. A run
that was killed goes on with the
scans that were not finished. What is written depends on the cohort and the settings alone, not on
the number of workers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from amir import durable
from amir.code_version import versions
from amir.config import PrepareSettings
from amir.dataset.cohort import SPLITS, CohortRow, Split, read_cohort
from amir.dataset.manifest import (
    Manifest,
    Refusal,
    ShardEntry,
    make_manifest,
    read_manifest,
    write_manifest,
)
from amir.dataset.pairs import Pair, read_pair, scan_id, slice_pairs
from amir.dataset.schema import ROWS_PER_GROUP, SCHEMA
from amir.dataset.splits import assign_splits, check_splits_are_filled
from amir.errors import InputError
from amir.modality import MODELLING_RANGES

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Each = Callable[[Callable[[Item], Outcome], Sequence[Item]], Iterable[Outcome]]
Report = Callable[[int, int], None]


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


def prepare(
    settings: PrepareSettings, *, each: Each[Any, Any], report: Report = lambda done, all: None
) -> Manifest:
    """Make the dataset folder and return its manifest.

    each: maps a function over tasks in any order, such as the built-in map, or `ray_map`. report:
    called with how many scans are
    done of how many. A folder already made from the same cohort and settings is returned as it is.
    """
    rows = read_cohort(settings.cohort)
    splits = assign_splits(rows, fractions=settings.splits, seed=settings.seed)
    check_splits_are_filled(rows, splits)
    request = _request(settings, rows, splits)
    if (settings.out / "manifest.json").is_file():
        return _made_before(settings.out, request)
    if settings.out.exists():
        raise InputError(
            "invalid_dataset", f"{settings.out} exists and is no dataset; choose another --out"
        )
    folder = _work_folder(settings.out, request)
    ordered = sorted(rows, key=lambda row: (row.patient_id, str(row.target)))
    tasks = [
        ScanTask(number, splits[row.patient_id], row, settings, folder)
        for number, row in enumerate(ordered)
    ]
    records = _prepare_scans(tasks, each, report)
    manifest = _manifest(tasks, records, request, settings)
    write_manifest(folder, manifest)
    shutil.rmtree(folder / "records")
    folder.rename(settings.out)
    return manifest


def ray_map(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Map over Ray Data, one CPU an item, outcomes as they come."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    numbers = ray.data.from_arrow([pa.table({"number": [k]}) for k in range(len(items))])
    every = list(items)

    def one(row: dict[str, Any]) -> dict[str, Any]:
        return {"outcome": json.dumps(function(every[row["number"]]))}

    for row in numbers.map(one, num_cpus=1).iter_rows() if every else ():
        yield json.loads(row["outcome"])


def prepare_scan(task: ScanTask) -> dict[str, Any]:
    """Write one scan's shard and return its record; a scan that cannot be used yields a refusal."""
    try:
        record = _shard(task)
    except InputError as error:
        return {"number": task.number, "refused": {"code": error.code, "reason": str(error)}}
    durable.write_text(task.record, json.dumps(record))
    return record


def _shard(task: ScanTask) -> dict[str, Any]:
    pair = read_pair(task.row, task.settings)
    path = task.folder / task.shard
    rows = 0
    with (
        durable.new_file(path) as beside,
        pq.ParquetWriter(beside, SCHEMA, compression="none") as file,
    ):
        for group in _groups(slice_pairs(pair, task.row, task.settings), ROWS_PER_GROUP):
            file.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
            rows += len(group)
        if not rows:
            raise InputError("empty", f"scan {scan_id(pair.target)} holds nothing but air")
    return {
        "number": task.number,
        "scan_id": scan_id(pair.target),
        "rows": rows,
        "sha256": durable.sha256(path),
        "parameters": pair.degradation,
        **_clipped(pair),
    }


def _clipped(pair: Pair) -> dict[str, int]:
    voxels, limits = pair.target.voxels, MODELLING_RANGES[pair.target.modality]
    outside = np.count_nonzero((voxels < limits.lower) | (voxels > limits.upper))
    return {"voxels": int(voxels.size), "clipped": int(outside)}


def _groups(rows: Iterator[Item], size: int) -> Iterator[list[Item]]:
    group: list[Item] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _request(
    settings: PrepareSettings, rows: Sequence[CohortRow], splits: dict[str, Split]
) -> dict[str, Any]:
    """What decides the dataset's content; where it lies and how many CPUs make it do not."""
    listed = sorted([r.patient_id, r.modality, r.target.name, splits[r.patient_id]] for r in rows)
    cohort = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    chosen = settings.model_dump(mode="json", exclude={"cohort", "out", "cpus"})
    return {**chosen, "cohort_digest": cohort}


def _made_before(folder: Path, request: dict[str, Any]) -> Manifest:
    manifest = read_manifest(folder)
    if manifest.settings != request:
        differing = sorted(k for k in request if manifest.settings.get(k) != request[k])
        raise InputError(
            "invalid_dataset",
            f"{folder} was made with other {', '.join(differing)}; choose another --out or remove it",
        )
    return manifest


def _work_folder(out: Path, request: dict[str, Any]) -> Path:
    """The hidden folder of this very request; unfinished ones of other requests are left alone."""
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:12]
    folder = out.absolute().with_name(f".{out.name}.preparing-{digest}")
    for name in (*SPLITS, "records"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return folder


def _prepare_scans(
    tasks: Sequence[ScanTask], each: Each[Any, Any], report: Report
) -> list[dict[str, Any]]:
    records = [json.loads(t.record.read_text()) for t in tasks if t.record.is_file()]
    finished = {record["number"] for record in records}
    waiting = [task for task in tasks if task.number not in finished]
    report(len(records), len(tasks))
    for record in each(prepare_scan, waiting):
        records.append(record)
        report(len(records), len(tasks))
        if "refused" in record and tasks[0].settings.bad_scans == "stop":
            raise _stop(tasks[record["number"]], record["refused"])
    return sorted(records, key=lambda record: record["number"])


def _stop(task: ScanTask, refused: dict[str, str]) -> InputError:
    return InputError(
        refused["code"],
        f"patient {task.row.patient_id}, {task.row.target.name}: {refused['reason']}. Mend or remove it, "
        "or leave such scans out and list them with --bad_scans skip; finished scans are kept",
    )


def _manifest(
    tasks: Sequence[ScanTask],
    records: Sequence[dict[str, Any]],
    request: dict[str, Any],
    settings: PrepareSettings,
) -> Manifest:
    shards: dict[str, list[ShardEntry]] = {split: [] for split in SPLITS}
    refused = []
    for record in records:
        task = tasks[record["number"]]
        who = {"patient_id": task.row.patient_id}
        if "refused" in record:
            refused.append(Refusal(**who, file=task.row.target.name, **record["refused"]))
        else:
            facts = {k: v for k, v in record.items() if k != "number"}
            entry = ShardEntry(**who, file=task.shard, modality=task.row.modality, **facts)
            shards[task.split].append(entry)
    return make_manifest(
        settings=request,
        intensity=settings.intensity,
        shards=shards,
        refused=refused,
        ranges={str(m): [r.lower, r.upper] for m, r in MODELLING_RANGES.items()},
        versions=versions(),
    )
