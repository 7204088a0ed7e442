"""AAPM-Mayo low-dose CT: folders of full-dose and quarter-dose DICOM series of the same patients.

Known shapes, `full`/`quarter` and the patient (L067) anywhere in the path:
- the 2016 Grand Challenge: full_1mm/L067/full_1mm/*.IMA beside quarter_1mm/..., also with `_sharp`;
- its later packing: Original Data/Full Dose/1mm Slice Thickness/Sharp Kernel (D45)/L067/...;
- TCIA LDCT-and-Projection-data: L067/DATE/1.000000-Full Dose Images-12345 and ...Low Dose Images...
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from amir.dataset.cohort import CohortRow, Split
from amir.dataset.importers.found import Found, check_anything_found, files_below
from amir.errors import InputError
from amir.modality import Modality

SUFFIXES = (".ima", ".dcm")
FULL = re.compile(r"full[ _-]?(dose|\d)|(^|[_/])FD([_/]|$)", re.IGNORECASE)
LOW = re.compile(r"(quarter|low)[ _-]?(dose|\d)|(^|[_/])QD([_/]|$)", re.IGNORECASE)
PATIENT = re.compile(r"(?:^|/)([A-Z]\d{3})(?=/|_|$)")
THICKNESS = re.compile(r"(\d(?:\.\d+)?) ?mm", re.IGNORECASE)
SHARP = re.compile(r"sharp|D45", re.IGNORECASE)
# The paper has 8, 1 and 1 of the challenge's ten patients and does not say which.
CHALLENGE = ("L067", "L096", "L109", "L143", "L192", "L286", "L291", "L310", "L333", "L506")
HELD_OUT: dict[str, Split] = {"L333": "validation", "L506": "test"}


@dataclass
class Doses:
    """The folders of one patient's reconstruction at either dose."""

    full: list[Path] = field(default_factory=list)
    low: list[Path] = field(default_factory=list)


def import_mayo(root: Path, *, series: str | None = None) -> Found:
    """A pair for each abdomen. series: which reconstruction, where there are several (3mm_sharp).

    The challenge's ten patients are split 8, 1 and 1 (L333 validates, L506 tests); with others the
    split is left open.
    """
    found = Found()
    doses: dict[str, dict[str, Doses]] = defaultdict(lambda: defaultdict(Doses))
    for folder in _series_folders(root):
        place = folder.relative_to(root).as_posix()
        patient, dose = PATIENT.search(place), _dose(place)
        if "projection" in folder.name.lower():
            found.leave_out(place, "projections, not images")
        elif patient is None or dose is None:
            found.leave_out(place, "the path says no patient (L067) or no dose (full, quarter)")
        elif not patient[1].startswith("L"):
            found.leave_out(place, "a head or a chest; the paper uses the abdomens")
        else:
            getattr(doses[_reconstruction(place)][patient[1]], dose).append(folder)
    chosen = _chosen(doses, series)
    found.rows = list(_rows(doses[chosen], found)) if chosen is not None else []
    return check_anything_found(found, root, "full-dose and quarter-dose series of one patient")


def _series_folders(root: Path) -> list[Path]:
    files = files_below(root, lambda path: path.suffix.lower() in SUFFIXES)
    return sorted({path.parent for path in files})


def _dose(place: str) -> Literal["full", "low"] | None:
    """By the innermost folder that says it; the collection's own name may say "low dose"."""
    for part in reversed(place.split("/")):
        is_full, is_low = FULL.search(part), LOW.search(part)
        if bool(is_full) != bool(is_low):
            return "full" if is_full else "low"
    return None


def _reconstruction(place: str) -> str:
    """1mm, 3mm_sharp; empty where the path does not say the thickness."""
    thickness = THICKNESS.search(place)
    name = f"{thickness[1]}mm" if thickness else ""
    return f"{name}_sharp".lstrip("_") if SHARP.search(place) else name


def _chosen(found: dict[str, dict[str, Doses]], series: str | None) -> str | None:
    if (series is None and len(found) > 1) or (series is not None and series not in found):
        held = ", ".join(sorted(name or "(unnamed)" for name in found)) or "nothing"
        raise InputError(
            "invalid_setting",
            f"series is {series!r}, the folder holds {held}; choose one with --series",
        )
    return series if series is not None else next(iter(found), None)


def _rows(patients: dict[str, Doses], found: Found) -> Iterable[CohortRow]:
    challenge = set(patients) <= set(CHALLENGE) and set(HELD_OUT) <= set(patients)
    for patient, doses in sorted(patients.items()):
        if len(doses.full) != 1 or len(doses.low) > 1:
            counts = f"{len(doses.full)} full-dose and {len(doses.low)} low-dose series"
            found.leave_out(patient, f"{counts} instead of one each")
            continue
        split: Split | None = HELD_OUT.get(patient, "train") if challenge else None
        low = doses.low[0] if doses.low else None
        if low is None:
            found.leave_out(patient, "no quarter dose; listed as a target alone, to be simulated")
        yield CohortRow(patient, Modality.CT, doses.full[0], low, split)
