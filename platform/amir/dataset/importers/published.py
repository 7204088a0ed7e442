"""The layout in which AMIR's authors release their data: a file for each slice.

ROOT/{PET,CT,MRI}/{train,validation,test}/{LQ,HQ}/*.bin (training) or *.nii (the others). Names such
as IXI002-Guys-0828-T2_17.bin say the scan before the last underscore and the slice after it; the
slices of a scan become one row of the cohort, with a pattern for its files. The splits are kept.
"""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from amir.dataset.cohort import SPLITS, CohortRow, Split
from amir.dataset.importers.found import Found, check_anything_found, files_below
from amir.errors import InputError
from amir.modality import Modality

SUFFIXES = (".bin", ".nii", ".nii.gz")
NAME = re.compile(r"(?P<scan>.+)_(?P<slice>\d+)(?P<suffix>\.bin|\.nii(?:\.gz)?)$")


def import_published(root: Path) -> Found:
    """A row for each scan; a slice whose name has no number is a scan of its own."""
    found = Found(options="--intensity.scale fixed")
    for modality in Modality:
        for split in SPLITS:
            folder = root / modality / split
            if folder.is_dir():
                found.rows.extend(_rows(folder, modality, split, found))
    if not root.is_dir():
        raise InputError("missing_file", f"there is no folder {root}; give the release's root")
    return check_anything_found(found, root, "{PET,CT,MRI}/{train,validation,test}/{LQ,HQ}/*.bin")


def _rows(folder: Path, modality: Modality, split: Split, found: Found) -> Iterator[CohortRow]:
    low, high = _names(folder / "LQ"), _names(folder / "HQ")
    scans: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in sorted(low | high):
        scans[_scan(name)].append(name)
    _check_told_apart({scan for scan, _ in scans})
    for (scan, pattern), members in scans.items():
        alone = [name for name in members if name not in low & high]
        if alone:
            found.leave_out(alone[0], f"without its partner in LQ or HQ, and so all of {scan}")
            continue
        target, degraded = folder / "HQ" / pattern, folder / "LQ" / pattern
        yield CohortRow(f"{modality}-{scan}", modality, target, degraded, split)


def _names(folder: Path) -> set[str]:
    return {path.name for path in files_below(folder, lambda p: p.name.endswith(SUFFIXES))}


def _scan(name: str) -> tuple[str, str]:
    """(scan, pattern of its files) of a slice's file name."""
    match = NAME.match(name)
    if match is None:
        stem, suffix = name.split(".", 1)
        return stem, f"{glob.escape(stem)}.[{suffix[0]}]{suffix[1:]}"
    return match["scan"], f"{glob.escape(match['scan'])}_[0-9]*{match['suffix']}"


def _check_told_apart(scans: set[str]) -> None:
    """The pattern of a_1.bin would find the slices of scan a_1 too."""
    for scan in sorted(scans):
        for number in re.finditer(r"_(?=\d)", scan):
            if scan[: number.start()] in scans:
                raise InputError(
                    "inconsistent",
                    f"slices of {scan} cannot be told from those of {scan[: number.start()]}; "
                    "rename one of the two in LQ and HQ",
                )
