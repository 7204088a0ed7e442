"""Scores of finished shards on disk, so that a job that was killed goes on where it was.

OUT/parts/KEY/SHARD.parquet: the rows of one shard for one method. KEY names all that decides them:
the method (a model by its digest), the dataset, the split, the ranges, the code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from amir import durable
from amir.code_version import versions
from amir.dataset.cohort import Split
from amir.dataset.manifest import Manifest, ShardEntry
from amir.evaluation.methods import Contender
from amir.evaluation.scan_scores import SCHEMA
from amir.modality import MODELLING_RANGES, SCORING_RANGES


@dataclass(frozen=True)
class Parts:
    """The finished shards of one method."""

    folder: Path

    def path(self, shard: ShardEntry) -> Path:
        return self.folder / shard.file.replace("/", "-")

    def read(self, shard: ShardEntry) -> pa.Table | None:
        """A shard's rows; None where it is not finished, or its file is of no use."""
        path = self.path(shard)
        if not path.is_file():
            return None
        try:
            table = pq.read_table(path, page_checksum_verification=True)
        except (OSError, ValueError, pa.ArrowException):
            return None
        whole = table.schema.equals(SCHEMA) and table.num_rows == shard.rows
        return table if whole else None

    def write(self, shard: ShardEntry, rows: pa.Table) -> None:
        with durable.new_file(self.path(shard)) as beside:
            pq.write_table(rows, beside, write_page_checksum=True)


def parts_of(
    out: Path, contender: Contender, manifest: Manifest, split: Split, *, device: str
) -> Parts:
    """The place for a method's finished shards, which nothing else shares."""
    decisive = {
        "identity": contender.identity,
        "dataset": manifest.dataset_digest,
        "split": split,
        "device": device,
        "ranges": [str(MODELLING_RANGES), str(SCORING_RANGES)],
        "code": versions(),
    }
    text = json.dumps(decisive, sort_keys=True)
    return Parts(out / "parts" / hashlib.sha256(text.encode()).hexdigest()[:16])
