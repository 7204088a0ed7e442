"""Scanner files to shards: every scan of the cohort becomes one Parquet file, many at a time.

The work happens in a hidden folder beside the dataset, which is renamed when it is whole. A run
that was killed goes on with the scans that were not finished. What is written depends on the
cohort and the settings alone, not on the number of workers.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from amir import cluster, durable
from amir.code_version import code_version, versions
from amir.config import PrepareSettings
from amir.dataset.cohort import SPLITS, CohortRow, Split, by_patient, read_cohort
from amir.dataset.duplicates import Printed, check_no_leakage, repeated_scans
from amir.dataset.manifest import (
    Manifest,
    Refusal,
    ShardEntry,
    check_shards,
    make_manifest,
    read_manifest,
    write_manifest,
)
from amir.dataset.scan_task import ScanTask, check_finished, digest_source, prepare_scan
from amir.dataset.splits import assign_splits, check_splits_are_filled
from amir.errors import InputError
from amir.modality import MODELLING_RANGES
from amir.parallel import parallel_map

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Each = Callable[[Callable[[Item], Outcome], Sequence[Item]], Iterable[Outcome]]
Report = Callable[[int, int], None]


def prepare(
    settings: PrepareSettings, *, each: Each[Any, Any], report: Report = lambda done, total: None
) -> Manifest:
    """Make the dataset folder and return its manifest.

    each: maps a function over tasks in any order, such as the built-in map, or `ray_map`. report:
    called with how many scans are done of how many. A folder already made from the same cohort,
    settings and files is checked and returned as it is. What an earlier run finished is kept, but
    for scans whose files have changed since.
    """
    rows = read_cohort(cohort_of(settings))
    splits = assign_splits(rows, fractions=settings.splits, seed=settings.seed)
    check_splits_are_filled(rows, splits)
    request = _request(settings, rows, splits)
    if (settings.out / "manifest.json").is_file():
        tasks = _tasks(rows, splits, settings, settings.out)
        return _made_before(settings.out, request, tasks, each)
    if settings.out.exists():
        raise InputError(
            "invalid_dataset", f"{settings.out} exists and is no dataset; choose another --out"
        )
    with durable.disk_full_is_named(settings.out):
        folder = _work_folder(settings.out, request)
        tasks = _tasks(rows, splits, settings, folder)
        records = _without_repeated(tasks, _prepare_scans(tasks, each, report))
        manifest = _manifest(tasks, records, request, settings)
        _publish(folder, manifest, settings.out)
    return manifest


def cohort_of(settings: PrepareSettings) -> Path:
    """The cohort file, which verifying and showing a dataset do without."""
    if settings.cohort is None:
        raise InputError("invalid_setting", "cohort is needed: give --cohort")
    return settings.cohort


def ray_map(
    function: Callable[[Any], Any], items: Sequence[Any], *, at_once: int | None = None
) -> Iterator[Any]:
    """Map over the cluster, one CPU an item, outcomes as they come; without items Ray stays off.

    Outcomes must be JSON. at_once: items at a time, else as many as the cluster has CPUs.
    """
    if not items:
        return
    cluster.connect()
    cluster.require(cpus=1, purpose="preparing a scan", remedy="add nodes")
    places = min(len(items), at_once or len(items), max(1, int(cluster.cpus())))
    make = partial(_JsonCall, function, list(items))
    for outcome in parallel_map(make, range(len(items)), actors=places, cpus=1, batch_size=1):
        yield json.loads(outcome["json"].item())


class _JsonCall:
    """Calls a function with an item by its number, in an actor."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.function, self.items = function, items

    def __call__(self, number: int) -> pa.Table:
        return pa.table({"json": [json.dumps(self.function(self.items[number]))]})


def _request(
    settings: PrepareSettings, rows: Sequence[CohortRow], splits: Mapping[str, Split]
) -> dict[str, Any]:
    """What decides the dataset's content; where it lies and how many CPUs make it do not."""
    folder = cohort_of(settings).absolute().parent

    def name(path: Path | None) -> str:
        return os.path.relpath(path, folder) if path else ""

    listed = sorted(
        [r.patient_id, r.modality, name(r.target), name(r.degraded), splits[r.patient_id]]
        for r in rows
    )
    cohort = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    chosen = settings.model_dump(
        mode="json", exclude={"cohort", "out", "cpus", "verify", "preview"}
    )
    return {**chosen, "cohort_digest": cohort}


def _made_before(
    folder: Path, request: dict[str, Any], tasks: Sequence[ScanTask], each: Each[Any, Any]
) -> Manifest:
    manifest = read_manifest(folder)
    if manifest.settings != request:
        differing = sorted(k for k in request if manifest.settings.get(k) != request[k])
        raise InputError(
            "invalid_dataset",
            f"{folder} was made with another {', '.join(differing)}; choose another --out or "
            "remove it",
        )
    check_shards(folder, manifest)
    sources = {entry.number: entry.source for entry in _entries(manifest.shards)}
    sources |= {refusal.number: refusal.source for refusal in manifest.refused}
    for found in each(digest_source, tasks):
        if found["source"] != sources.get(found["number"]):
            row = tasks[found["number"]].row
            raise InputError(
                "invalid_dataset",
                f"patient {row.patient_id}, {row.target.name}: the files have changed since "
                f"{folder} was made; choose another --out or remove it",
            )
    return manifest


def _work_folder(out: Path, request: dict[str, Any]) -> Path:
    """The hidden folder of this very request and code; unfinished ones of others are left alone."""
    asked = json.dumps([request, code_version()], sort_keys=True)
    digest = hashlib.sha256(asked.encode()).hexdigest()[:12]
    folder = out.absolute().with_name(f".{out.name}.preparing-{digest}")
    for name in (*SPLITS, "records"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return folder


def _tasks(
    rows: Sequence[CohortRow], splits: Mapping[str, Split], settings: PrepareSettings, folder: Path
) -> list[ScanTask]:
    return [
        ScanTask(number, splits[row.patient_id], row, settings, folder)
        for number, row in enumerate(by_patient(rows))
    ]


def _prepare_scans(
    tasks: Sequence[ScanTask], each: Each[Any, Any], report: Report
) -> list[dict[str, Any]]:
    found = [task for task in tasks if task.record.is_file()]
    records = [r for r in each(check_finished, found) if "changed" not in r] if found else []
    finished = {record["number"] for record in records}
    waiting = [task for task in tasks if task.number not in finished]
    report(len(records), len(tasks))
    for record in each(prepare_scan, waiting):
        records.append(record)
        report(len(records), len(tasks))
        if "refused" in record and tasks[0].settings.bad_scans == "stop":
            raise _stop(tasks[record["number"]], record["refused"])
    return sorted(records, key=lambda record: record["number"])


def _without_repeated(
    tasks: Sequence[ScanTask], records: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The records, with those of scans that hold nothing new turned into refusals."""
    printed = [_printed(tasks[r["number"]], r) for r in records if "refused" not in r]
    check_no_leakage(printed)
    repeated = repeated_scans(printed)
    answer = []
    for record in records:
        if record["number"] in repeated:
            task, first = tasks[record["number"]], repeated[record["number"]]
            reason = (
                f"patients {first.patient_id} and {task.row.patient_id} have a scan with the same "
                f"content, scan {first.number} of the cohort by patient; list it once"
            )
            record = {**record, "refused": {"code": "invalid_cohort", "reason": reason}}
            if task.settings.bad_scans == "stop":
                raise _stop(task, record["refused"])
            (task.folder / task.shard).unlink()
        answer.append(record)
    return answer


def _printed(task: ScanTask, record: Mapping[str, Any]) -> Printed:
    prints = np.frombuffer(bytes.fromhex(record["prints"]), ">u8").astype(np.uint64)
    return Printed(task.number, task.row.patient_id, task.split, prints)


def _stop(task: ScanTask, refused: dict[str, str]) -> InputError:
    return InputError(
        refused["code"],
        f"patient {task.row.patient_id}, {task.row.target.name}: {refused['reason']}. Mend or "
        "remove it, or leave such scans out and list them with --bad_scans skip; finished scans "
        "are kept",
    )


def _manifest(
    tasks: Sequence[ScanTask],
    records: Sequence[dict[str, Any]],
    request: dict[str, Any],
    settings: PrepareSettings,
) -> Manifest:
    shards: dict[Split, list[ShardEntry]] = {split: [] for split in SPLITS}
    refused = []
    for record in records:
        task = tasks[record["number"]]
        who = {"patient_id": task.row.patient_id, "modality": task.row.modality}
        facts = {k: v for k, v in record.items() if k not in ("number", "prints", "refused")}
        if "refused" in record:
            name, source = task.row.target.name, record["source"]
            told = {"number": task.number, "file": name, "source": source, **record["refused"]}
            refused.append(Refusal(**who, **told))
        else:
            shards[task.split].append(ShardEntry(**who, file=task.shard, **facts))
    _check_splits_stay_filled(tasks, records)
    return make_manifest(
        settings=request,
        intensity=settings.intensity,
        shards=shards,
        refused=refused,
        ranges={str(m): [r.lower, r.upper] for m, r in MODELLING_RANGES.items()},
        versions=versions(),
    )


def _entries(shards: Mapping[Split, Sequence[ShardEntry]]) -> list[ShardEntry]:
    return [entry for split in SPLITS for entry in shards[split]]


def _check_splits_stay_filled(tasks: Sequence[ScanTask], records: Sequence[dict[str, Any]]) -> None:
    refused = {tasks[record["number"]].row for record in records if "refused" in record}
    splits = {task.row.patient_id: task.split for task in tasks}
    check_splits_are_filled([task.row for task in tasks], splits, left_out=refused)


def _publish(folder: Path, manifest: Manifest, out: Path) -> None:
    write_manifest(folder, manifest)
    shutil.rmtree(folder / "records")
    folder.rename(out)
    durable.flush(out.absolute().parent)
