"""One shard: the slices of one scan in a Parquet file, in small row groups with checksums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from amir import durable
from amir.dataset.schema import PIXELS, ROWS_PER_GROUP, SCHEMA
from amir.errors import InputError

Row = dict[str, Any]


def write_shard(path: Path, rows: Iterable[Row]) -> int:
    """Write a shard that is whole or not there, a row group in memory at a time; returns its rows.

    The same rows give the same bytes.
    """
    written, remaining = 0, iter(rows)
    options: dict[str, Any] = {
        "compression": "none",  # decoding would cost more than reading
        "use_dictionary": [name for name in SCHEMA.names if name not in PIXELS],
        "write_statistics": False,
        "write_page_checksum": True,
    }
    with durable.new_file(path) as beside, pq.ParquetWriter(beside, SCHEMA, **options) as file:
        while group := list(islice(remaining, ROWS_PER_GROUP)):
            file.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
            written += len(group)
    return written


class Shard:
    """A shard to read from; damage is an InputError("invalid_dataset") that names it and the rows.

    name: the file's place in the dataset folder, such as train/00003.parquet.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        with self._damage_is_named("footer"):
            self._file = pq.ParquetFile(folder / name, page_checksum_verification=True)
        self.rows: int = self._file.metadata.num_rows

    def group(self, number: int, columns: Sequence[str] = SCHEMA.names) -> list[Row]:
        """The rows from number * ROWS_PER_GROUP on: ROWS_PER_GROUP of them, fewer at the end."""
        first = number * ROWS_PER_GROUP
        expected = min(ROWS_PER_GROUP, self.rows - first)
        with self._damage_is_named(f"rows {first} to {first + expected - 1}"):
            rows: list[Row] = self._file.read_row_group(number, columns=list(columns)).to_pylist()
            if len(rows) != expected or rows[0].keys() != set(columns):
                raise ValueError(f"found {len(rows)} rows of {', '.join(rows[0])}")
        return rows

    @contextmanager
    def _damage_is_named(self, place: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, LookupError, OverflowError, pa.ArrowException) as error:
            raise InputError(
                "invalid_dataset",
                f"shard {self.name}, {place}: {str(error).splitlines()[0]}; remove the dataset "
                "folder and prepare it again",
            ) from None
