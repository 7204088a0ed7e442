"""Quantities of every scan of a split: from stored restored slices, or restored on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from amir import durable
from amir.dataset.cohort import Split
from amir.dataset.manifest import Manifest, ShardEntry, read_manifest
from amir.dataset.slices import SlicePair, read_shard
from amir.errors import InputError
from amir.evaluation.quantities.agreement import Agreement, agree
from amir.evaluation.quantities.scan_quantities import (
    IMAGES,
    ScanQuantities,
    assumption,
    measure_scan,
)
from amir.evaluation.stored import read_restored
from amir.inference.restorer import Restorer
from amir.modality import MODELLING_RANGES, Modality

FORMAT = 1
Restore = Callable[[Path, ShardEntry], Iterator[tuple[SlicePair, NDArray[np.float32]]]]
SUV_QUANTITIES = ("suv_max", "suv_mean", "activity")


def stored_quantities(data: Path, restored: Path, split: Split = "test") -> list[ScanQuantities]:
    """Quantities of each scan of a split from restored slices that an evaluation kept.

    data: dataset folder. restored: folder of one model, such as OUT/restored/DIGEST.
    """
    return list(measure_split(data, read_manifest(data), split, restore=stored_in(restored)))


def measure_split(
    data: Path,
    manifest: Manifest,
    split: Split,
    *,
    restore: Restore,
    report: Callable[[int, int], None] = lambda done, every: None,
) -> Iterator[ScanQuantities]:
    """Quantities of each scan of a split. restore: yields a shard's pairs with what became of them;
    see `stored_in` and `restored_by`. report: called with how many scans are done of how many.
    """
    shards = manifest.of(split)
    for done, shard in enumerate(shards, 1):
        yield measure_scan(restore(data, shard), shard.parameters)
        report(done, len(shards))


def stored_in(restored: Path) -> Restore:
    """Takes the restored slices from a folder of one model."""

    def restore(data: Path, shard: ShardEntry) -> Iterator[tuple[SlicePair, Any]]:
        stored = read_restored(restored, shard.file)
        for pair, found in zip_longest(read_shard(data, shard), stored):
            if not pair or not found or pair.slice_index != found.slice_index:
                raise InputError(
                    "inconsistent",
                    f"restored slices {shard.file} are not those of the dataset; evaluate again",
                )
            yield pair, found.restored

    return restore


def restored_by(restorer: Restorer) -> Restore:
    """Restores slice by slice."""

    def restore(data: Path, shard: ShardEntry) -> Iterator[tuple[SlicePair, Any]]:
        for pair in read_shard(data, shard):
            yield pair, restorer.restore_slice(pair.degraded, pair.modality, scale=pair.scale)

    return restore


def suv_agreement(scans: Sequence[ScanQuantities]) -> dict[str, dict[str, Agreement]]:
    """PET: quantity -> degraded, restored -> its agreement with the target over scans."""
    own = [scan.totals for scan in scans if scan.modality is Modality.PET]
    return {
        quantity: {
            image: agree(
                [totals[f"{quantity}_{image}"] for totals in own],
                [totals[f"{quantity}_target"] for totals in own],
            )
            for image in ("degraded", "restored")
        }
        for quantity in SUV_QUANTITIES
        if own
    }


def histograms(scans: Sequence[ScanQuantities], task: Modality) -> dict[str, NDArray[np.int64]]:
    """Image name -> counts over the modelling range, of all scans of a task."""
    own = [scan.histograms for scan in scans if scan.modality is task]
    return {name: np.sum([h[name] for h in own], axis=0) for name in IMAGES if own}


def write_quantities(folder: Path, scans: Sequence[ScanQuantities]) -> None:
    """quantities.parquet (slices), scan_quantities, hot_regions.parquet, and quantities.json."""
    tables: dict[str, list[dict[str, Any]]] = {
        "quantities": [dict(row) for scan in scans for row in scan.slices],
        "scan_quantities": [_who(scan) | dict(scan.totals) for scan in scans],
        "hot_regions": [
            _who(scan) | region._asdict() for scan in scans for region in scan.hot_regions
        ],
    }
    for name, rows in tables.items():
        with durable.new_file(folder / f"{name}.parquet") as beside:
            pq.write_table(_table(rows), beside)
    text = json.dumps(_summary(scans), indent=1)
    durable.write_text(folder / "quantities.json", text.replace("NaN", "null"))


def _summary(scans: Sequence[ScanQuantities]) -> dict[str, Any]:
    tasks = [task for task in Modality if any(scan.modality is task for scan in scans)]
    return {
        "format": FORMAT,
        "assumptions": {s.degradation: assumption(s.degradation) for s in scans},
        "suv_agreement": {
            quantity: {image: found._asdict() for image, found in images.items()}
            for quantity, images in suv_agreement(scans).items()
        },
        "histograms": {
            str(task): {
                "lower": MODELLING_RANGES[task].lower,
                "upper": MODELLING_RANGES[task].upper,
                "counts": {n: c.tolist() for n, c in histograms(scans, task).items()},
            }
            for task in tasks
        },
    }


def _who(scan: ScanQuantities) -> dict[str, Any]:
    return {
        "patient_id": scan.patient_id,
        "scan_id": scan.scan_id,
        "modality": str(scan.modality),
        "degradation": scan.degradation,
    }


def _table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows with unequal columns: what one lacks is null."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})
