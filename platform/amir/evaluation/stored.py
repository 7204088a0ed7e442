"""Restored slices kept on disk beside the dataset they belong to; and scores from both alone.

FOLDER/SPLIT/NNNNN.parquet, a file for each shard of the dataset and named like it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from amir import durable
from amir.dataset.cohort import Split
from amir.dataset.manifest import ShardEntry, read_manifest
from amir.dataset.schema import unpack
from amir.dataset.slices import SlicePair, read_shard
from amir.errors import InputError
from amir.evaluation.scan_scores import ScanScorer, target_range

Image = NDArray[np.float32]

OPTIONS: dict[str, Any] = {
    "compression": "none",
    "use_dictionary": False,
    "write_statistics": False,
    "write_page_checksum": True,
}
SCHEMA = pa.schema(
    [
        ("patient_id", pa.string()),
        ("scan_id", pa.string()),
        ("modality", pa.string()),
        ("slice_index", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("restored", pa.binary()),
    ]
)


class StoredSlice(NamedTuple):
    """restored: float32 [H, W], physical units, as the degraded slice it was made from."""

    patient_id: str
    scan_id: str
    slice_index: int
    restored: Image


Keep = Callable[[Sequence[SlicePair], Sequence[Image]], None]


@contextmanager
def restored_file(path: Path) -> Iterator[Keep]:
    """A function that writes the next restored slices of a shard; the file is whole or not there.

    Call it with as many pairs at a time as are to be read at a time.
    """
    with durable.new_file(path) as beside, pq.ParquetWriter(beside, SCHEMA, **OPTIONS) as file:

        def keep(pairs: Sequence[SlicePair], images: Sequence[Image]) -> None:
            rows = [_row(pair, image) for pair, image in zip(pairs, images, strict=True)]
            file.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))

        yield keep


def read_restored(folder: Path, file: str) -> Iterator[StoredSlice]:
    """The restored slices of a shard in its order, a row group in memory.

    folder: of one model, such as OUT/restored/DIGEST. file: the shard's name in the manifest.
    InputError where the file is missing or damaged.
    """
    if not (folder / file).is_file():
        raise InputError(
            "missing_file",
            f"no restored slices {file} in {folder}; evaluate with --keep-restored true",
        )
    try:
        with pq.ParquetFile(folder / file, page_checksum_verification=True) as opened:
            for number in range(opened.num_row_groups):
                for row in opened.read_row_group(number).to_pylist():
                    yield _stored(row)
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        raise InputError(
            "unreadable",
            f"restored slices {file}: {str(error).splitlines()[0]}; remove the file and evaluate "
            "again",
        ) from None


def score_stored(
    data: Path, restored: Path, split: Split = "test", *, method: str = "stored", workers: int = 2
) -> pa.Table:
    """Rows of scores.parquet from stored restored slices and the dataset's targets, without Ray.

    restored: folder of one model, as for `read_restored`. workers: threads, each with a scan.
    """
    shards = read_manifest(data).of(split)
    score = partial(_score_shard, data, restored, method)
    with ThreadPoolExecutor(workers) as pool:
        tables = list(pool.map(score, shards))
    return pa.concat_tables(tables)


def _score_shard(data: Path, restored: Path, method: str, shard: ShardEntry) -> pa.Table:
    scorer = ScanScorer(shard.file, shard.modality, target_range(read_shard(data, shard)))
    stored = read_restored(restored, shard.file)
    for pair, found in zip_longest(read_shard(data, shard), stored):
        _check_same(pair, found, shard)
        scorer.add(pair, found.restored, method=method)
    return scorer.table(method)


def _check_same(pair: SlicePair | None, found: StoredSlice | None, shard: ShardEntry) -> None:
    """InputError unless a restored slice belongs to the pair."""
    if pair and found and (pair.scan_id, pair.slice_index) == (found.scan_id, found.slice_index):
        return
    raise InputError(
        "inconsistent",
        f"the restored slices {shard.file} (patient {shard.patient_id}) are not those of the "
        "dataset: they were made from another one; restore them again",
    )


def _row(pair: SlicePair, image: Image) -> dict[str, Any]:
    return {
        "patient_id": pair.patient_id,
        "scan_id": pair.scan_id,
        "modality": str(pair.modality),
        "slice_index": pair.slice_index,
        "height": image.shape[0],
        "width": image.shape[1],
        "restored": np.ascontiguousarray(image, "<f4").tobytes(),
    }


def _stored(row: dict[str, Any]) -> StoredSlice:
    image = unpack(row["restored"], "float32", row["height"], row["width"])
    return StoredSlice(row["patient_id"], row["scan_id"], row["slice_index"], image)
