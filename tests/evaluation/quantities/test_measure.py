"""Quantities of a split, from stored slices and restored on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from amir.checkpoint import load
from amir.dataset.manifest import read_manifest
from amir.evaluation.quantities.measure import (
    histograms,
    measure_split,
    restored_by,
    stored_quantities,
    suv_agreement,
    write_quantities,
)
from amir.evaluation.results import read_record
from amir.inference.restorer import Restorer
from amir.modality import Modality


def test_stored_slices_and_restoring_again_give_the_same_quantities(
    evaluation: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    method = read_record(evaluation).methods[-1]
    assert method.restored is not None
    stored = stored_quantities(tiny_dataset, evaluation / method.restored)
    manifest = read_manifest(tiny_dataset)
    restore = restored_by(Restorer.of(load(Path(method.folder))))
    again = list(measure_split(tiny_dataset, manifest, "test", restore=restore))
    assert [scan.scan_id for scan in stored] == [shard.scan_id for shard in manifest.of("test")]
    for one, other in zip(stored, again, strict=True):
        assert one.totals == pytest.approx(dict(other.totals), rel=1e-4)

    write_quantities(tmp_path, stored)
    slices = pq.read_table(tmp_path / "quantities.parquet")
    assert slices.num_rows == sum(len(scan.slices) for scan in stored)
    assert pq.read_table(tmp_path / "scan_quantities.parquet").num_rows == len(stored)
    told = json.loads((tmp_path / "quantities.json").read_text())
    assert set(told["assumptions"]) == {"kspace", "low_dose", "low_count"}
    assert told["suv_agreement"]["activity"]["restored"]["n"] == 1
    assert suv_agreement(stored)["suv_max"]["degraded"].bias != 0
    counts = histograms(stored, Modality.CT)["target"]
    assert np.sum(counts) == sum(
        row["voxels"] for scan in stored if scan.modality is Modality.CT for row in scan.slices
    )
