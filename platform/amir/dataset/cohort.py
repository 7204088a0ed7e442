"""The cohort file: which files belong to which patient, modality and split.

A scan is a file, a folder, or a pattern such as `HQ/L067_*.bin` for a stack of single slices; a
path, relative to the cohort file, or a file:// address. Other addresses are refused: archives are
mounted or copied, so that preparing needs no key to them and can tell whether a scan has changed.
"""

from __future__ import annotations

import csv
import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from amir import durable
from amir.errors import InputError
from amir.imaging import split_choice
from amir.modality import Modality

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
REQUIRED = ("patient_id", "modality", "target")
KNOWN = (*REQUIRED, "degraded", "split", "linked_to")


@dataclass(frozen=True)
class CohortRow:
    """One scan of a patient. degraded: None to simulate it. split: None to draw it.

    target, degraded: a file, a folder, or a pattern of slice files.
    """

    patient_id: str
    modality: Modality
    target: Path
    degraded: Path | None = None
    split: Split | None = None
    linked_to: str | None = None


def read_cohort(path: Path) -> list[CohortRow]:
    """Read a cohort CSV, paths relative to it; InputError names the line and the column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(path, list(reader.fieldnames or ()))
            rows = [_row(path, reader.line_num, cells) for cells in reader]
    except FileNotFoundError:
        raise InputError("missing_file", f"there is no cohort file {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("invalid_cohort", f"{path.name} is not a CSV file: {error}") from None
    if not rows:
        raise InputError("invalid_cohort", f"{path.name} lists no scans")
    _check_scans_listed_once(path, rows)
    return rows


def by_patient(rows: Iterable[CohortRow]) -> list[CohortRow]:
    """In the order in which scans are numbered: that of the rows does not matter."""
    return sorted(rows, key=lambda row: (row.patient_id, str(row.target)))


def write_cohort(path: Path, rows: Iterable[CohortRow]) -> None:
    """Write a cohort CSV; scans below its folder are named relative to it."""
    folder = path.absolute().parent

    def name(scan: Path | None) -> str:
        if scan is None:
            return ""
        inside = scan.absolute().is_relative_to(folder)
        return os.path.relpath(scan, folder) if inside else str(scan.absolute())

    with durable.new_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(KNOWN)
        for row in rows:
            scans = name(row.target), name(row.degraded)
            ends = row.split or "", row.linked_to or ""
            writer.writerow((row.patient_id, str(row.modality), *scans, *ends))


def _check_columns(path: Path, columns: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [name for name in columns if name not in KNOWN]
    if missing or unknown:
        fault = f"lacks {', '.join(missing)}" if missing else f"has unknown {', '.join(unknown)}"
        raise InputError(
            "invalid_cohort", f"{path.name} {fault}; the columns are {', '.join(KNOWN)}"
        )


def _row(path: Path, line: int, cells: Mapping[str | None, Any]) -> CohortRow:
    def cell(name: str) -> str:
        return (cells.get(name) or "").strip()

    def fault(reason: str) -> InputError:
        return InputError("invalid_cohort", f"{path.name} line {line}: {reason}")

    without_column = [text for text in cells.get(None) or () if text.strip()]
    if without_column:
        raise fault(f"{without_column[0]!r} is in no column; put quotes around a cell with a comma")
    for name in REQUIRED:
        if not cell(name):
            raise fault(f"{name} is empty")
    if cell("modality").upper() not in list(Modality):
        raise fault(f"modality is {cell('modality')!r}; choose from {', '.join(Modality)}")
    if cell("split") not in ("", *SPLITS):
        raise fault(
            f"split is {cell('split')!r}; choose from {', '.join(SPLITS)} or leave it empty"
        )
    return CohortRow(
        patient_id=cell("patient_id"),
        modality=Modality(cell("modality").upper()),
        target=_existing(path, line, cell("target")),
        degraded=_existing(path, line, cell("degraded")) if cell("degraded") else None,
        split=cast("Split | None", cell("split") or None),
        linked_to=cell("linked_to") or None,
    )


def _existing(cohort: Path, line: int, name: str) -> Path:
    path = (cohort.parent / _without_scheme(cohort, line, name)).absolute()
    if not split_choice(path)[0].exists() and not slice_files(path):
        raise InputError(
            "missing_file",
            f"{cohort.name} line {line}: there is no {name}; paths are relative to the cohort file",
        )
    return path


def _without_scheme(cohort: Path, line: int, name: str) -> str:
    if "://" not in name:
        return name
    address = urlsplit(name)
    if address.scheme != "file" or address.netloc not in ("", "localhost"):
        raise InputError(
            "unsupported",
            f"{cohort.name} line {line}: {name} is an address; mount it or copy it to a folder",
        )
    return url2pathname(address.path)


def slice_files(path: Path) -> list[Path]:
    """The files that a pattern stands for, 2 before 10; none where the path is itself there."""
    if path.exists() or not glob.has_magic(path.name):
        return []
    found = path.parent.glob(path.name)
    return sorted(found, key=lambda p: [(len(t), t) for t in re.split(r"(?<=\D)(?=\d)", p.stem)])


def _check_scans_listed_once(path: Path, rows: list[CohortRow]) -> None:
    """By the file itself: a link, or another spelling of the path, is the same scan."""
    seen: dict[Path, CohortRow] = {}
    for row in rows:
        before = seen.setdefault(row.target.resolve(), row)
        if before is not row:
            raise InputError(
                "invalid_cohort",
                f"{path.name} lists one scan twice as a target: {before.target.name} of patient "
                f"{before.patient_id}, {row.target.name} of patient {row.patient_id}",
            )
