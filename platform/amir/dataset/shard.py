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
        with damage_is_named(name, "footer"):
            self._file = pq.ParquetFile(folder / name, page_checksum_verification=True)
        self.rows: int = self._file.metadata.num_rows

    def group(self, number: int, columns: Sequence[str] = SCHEMA.names) -> list[Row]:
        """The rows from number * ROWS_PER_GROUP on: ROWS_PER_GROUP of them, fewer at the end."""
        first = number * ROWS_PER_GROUP
        expected = min(ROWS_PER_GROUP, self.rows - first)
        with damage_is_named(self.name, f"rows {first} to {first + expected - 1}"):
            rows: list[Row] = self._file.read_row_group(number, columns=list(columns)).to_pylist()
            if len(rows) != expected or rows[0].keys() != set(columns):
                raise ValueError(f"found {len(rows)} rows of {', '.join(rows[0])}")
        return rows

    def columns(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """Whole columns, by name."""
        with damage_is_named(self.name, f"columns {', '.join(names)}"):
            table = self._file.read(columns=list(names))
            columns: dict[str, list[Any]] = table.to_pydict()
            if table.num_rows != self.rows or columns.keys() != set(names):
                raise ValueError(f"found {table.num_rows} rows of {', '.join(columns)}")
        return columns

    def ends(self, name: str) -> list[int]:
        """Of each row group, the byte of the file after the last one of a column."""
        metadata, column = self._file.metadata, SCHEMA.names.index(name)
        groups = (metadata.row_group(k).column(column) for k in range(metadata.num_row_groups))
        with damage_is_named(self.name, "footer"):
            return [_end(chunk) for chunk in groups]


def damaged_place(folder: Path, name: str) -> str:
    """Where a damaged shard is: the first rows whose checksum fails, else what is beside them."""
    try:
        shard = Shard(folder, name)
    except InputError:
        return "footer"
    for first in range(0, shard.rows, ROWS_PER_GROUP):
        try:
            shard.group(first // ROWS_PER_GROUP)
        except InputError:
            return f"rows {first} to {min(first + ROWS_PER_GROUP, shard.rows) - 1}"
    return "footer, or between the rows"


@contextmanager
def damage_is_named(shard: str, place: str) -> Iterator[None]:
    """What reading a damaged file raises becomes an InputError that says which file, and where."""
    try:
        yield
    except (OSError, ValueError, LookupError, OverflowError, pa.ArrowException) as error:
        raise InputError(
            "invalid_dataset",
            f"shard {shard}, {place}: {str(error).splitlines()[0]}; remove the dataset "
            "folder and prepare it again",
        ) from None


def _end(chunk: Any) -> int:
    if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
        raise ValueError(f"{chunk.path_in_schema} is not stored as the platform writes it")
    return int(chunk.data_page_offset) + int(chunk.total_compressed_size)
