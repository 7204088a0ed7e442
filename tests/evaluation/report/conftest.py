"""A dataset whose patients have names that would be markup."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from amir import durable
from amir.dataset.manifest import make_manifest, read_manifest, write_manifest

HOSTILE = "<script>alert(1)</script> $\\frac{ & \"'"


@pytest.fixture(scope="session")
def hostile_dataset(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of tiny_dataset in which every patient has a hostile name."""
    folder = tmp_path_factory.mktemp("dataset") / "hostile"
    shutil.copytree(tiny_dataset, folder)
    manifest = read_manifest(folder)
    shards = {
        split: [
            shard.model_copy(
                update={
                    "patient_id": rename(folder / shard.file),
                    "sha256": digest(folder / shard.file),
                }
            )
            for shard in entries
        ]
        for split, entries in manifest.shards.items()
    }
    renamed = make_manifest(
        settings=manifest.settings,
        intensity=manifest.intensity,
        shards=shards,
        refused=[],
        ranges=manifest.ranges,
        versions=manifest.versions,
    )
    write_manifest(folder, renamed)
    return folder


def rename(file: Path) -> str:
    """Give the shard's patient a hostile name; small row groups stay small."""
    opened = pq.ParquetFile(file)
    groups = [opened.read_row_group(k) for k in range(opened.num_row_groups)]
    old = groups[0]["patient_id"][0].as_py()
    new = f"{HOSTILE} {old}"
    with pq.ParquetWriter(file, opened.schema_arrow) as written:
        for group in groups:
            place = group.schema.get_field_index("patient_id")
            written.write_table(
                group.set_column(place, "patient_id", pa.array([new] * len(group), pa.string()))
            )
    return new


def digest(file: Path) -> str:
    return durable.sha256(file)
