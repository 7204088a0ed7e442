"""BIDS folders: sub-*/[ses-*/]{anat,pet,ct}/*.nii[.gz]. CT is no part of BIDS, its spelling is.

All sessions and runs of a subject are one patient. participants.tsv may have the columns `split`
and `linked_to` (another participant, such as a twin, that must share the split).
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, cast

from amir.dataset.cohort import SPLITS, CohortRow, Split
from amir.dataset.importers.found import Found, check_anything_found, files_below
from amir.errors import InputError
from amir.modality import Modality

NAME = re.compile(
    r"(?P<subject>sub-[A-Za-z0-9]+)_(?P<entities>(?:[a-z]+-[A-Za-z0-9+]+_)*)"
    r"(?P<suffix>[A-Za-z0-9]+)\.nii(?:\.gz)?$"
)
KINDS: dict[str, tuple[Modality, tuple[str, ...]]] = {
    "anat": (Modality.MRI, ("T1w", "T2w", "PDw", "FLAIR", "T2star", "T2starw", "inplaneT2")),
    "pet": (Modality.PET, ("pet",)),
    "ct": (Modality.CT, ("ct",)),
}
# Another recording of the same thing: parts of a complex image, or separate echoes.
NO_MAGNITUDE = ("part-phase", "part-real", "part-imag")


def import_bids(root: Path, *, degraded: str | None = None) -> Found:
    """Every MRI, PET and CT volume. degraded: the entity of degraded scans, such as acq-lowdose.

    A degraded scan is paired with the one of the same name without that entity, or with another
    value of it (acq-fulldose).
    """
    found = Found()
    volumes: dict[tuple[str, ...], list[Path]] = {}
    partners: dict[tuple[str, ...], list[Path]] = {}
    people = _participants(root)
    for path in files_below(root, lambda p: p.name.endswith((".nii", ".nii.gz"))):
        reason = _not_usable(root, path)
        if reason is not None:
            found.leave_out(path.relative_to(root).as_posix(), reason)
            continue
        held = partners if degraded and degraded in path.name.split("_") else volumes
        held.setdefault(_scene(root, path, degraded), []).append(path)
    for scene, paths in volumes.items():
        found.rows.append(_row(paths, partners.pop(scene, []), people, found))
    for paths in partners.values():
        found.leave_out(paths[0].name, "degraded, without the scan it belongs to")
    found.rows.sort(key=lambda row: (row.patient_id, str(row.target)))
    return check_anything_found(found, root, "volume of a BIDS folder (sub-01/anat/sub-01_T2w.nii)")


def _not_usable(root: Path, path: Path) -> str | None:
    """Why a volume is none of those that are imported."""
    name, place = NAME.match(path.name), path.relative_to(root)
    if not place.parts[0].startswith("sub-"):
        return "not below a sub- folder (derivatives, source data)"
    if name is None or name["subject"] != place.parts[0]:
        return "not named as its BIDS folder asks"
    kind = KINDS.get(path.parent.name)
    if kind is None or name["suffix"] not in kind[1]:
        return f"{path.parent.name}/{name['suffix']}, which is no MRI, PET or CT image"
    if any(part in name["entities"].split("_") for part in NO_MAGNITUDE):
        return "phase, real or imaginary part"
    return None


def _scene(root: Path, path: Path, degraded: str | None) -> tuple[str, ...]:
    """What a target and its degraded scan have in common: all of the path but one entity."""
    key = degraded.split("-")[0] + "-" if degraded else None
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    parts = [part for part in name.split("_") if not (key and part.startswith(key))]
    return (str(path.parent.relative_to(root)), *parts)


def _row(
    paths: list[Path], partners: list[Path], people: dict[str, dict[str, str]], found: Found
) -> CohortRow:
    target = paths[0]
    for path in (*paths[1:], *partners[1:]):
        found.leave_out(path.name, "the same scan as another but for its entity or suffix")
    subject = target.name.split("_")[0]
    person = people.get(subject, {})
    return CohortRow(
        patient_id=subject,
        modality=KINDS[target.parent.name][0],
        target=target,
        degraded=partners[0] if partners else None,
        split=cast("Split | None", person.get("split") or None),
        linked_to=person.get("linked_to") or None,
    )


def _participants(root: Path) -> dict[str, dict[str, str]]:
    path = root / "participants.tsv"
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("invalid_cohort", f"participants.tsv is no table: {error}") from None
    people = {str(row.get("participant_id")): _known(row) for row in rows}
    for subject, person in people.items():
        if person.get("split", "") not in ("", *SPLITS):
            raise InputError(
                "invalid_cohort",
                f"participants.tsv: split of {subject} is {person['split']!r}; choose from "
                f"{', '.join(SPLITS)}",
            )
    return people


def _known(row: dict[str, Any]) -> dict[str, str]:
    """The two columns that matter; BIDS writes n/a for nothing."""
    cells = {name: str(row.get(name) or "").strip() for name in ("split", "linked_to")}
    return {name: "" if cell == "n/a" else cell for name, cell in cells.items()}
