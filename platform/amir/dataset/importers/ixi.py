"""IXI (brain-development.org): T2 volumes such as IXI002-Guys-0828-T2.nii.gz.

The paper divides 578 volumes into 405, 59 and 114 and uses the central 100 slices; which subject is
where it does not say. The list made here has the same sizes and is its own: subjects are ordered by
site, and within a site by a hash of their number; tests, then validations, are picked from that
order at even steps. So each site has its share of each split, and the same subjects always give the
same list. It is written into the cohort file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from amir.dataset.cohort import CohortRow, Split
from amir.dataset.importers.found import Found, check_anything_found, files_below
from amir.modality import Modality

NAME = re.compile(r"(?P<subject>IXI\d{3})-(?P<site>Guys|HH|IOP)-\d{4}-(?P<kind>\w+)\.nii(?:\.gz)?$")
VOLUMES, VALIDATION, TEST = 578, 59, 114


def import_ixi(root: Path) -> Found:
    """Every T2 volume below a folder, one to a subject, each with its split."""
    found = Found(options="--central_slices 100 --intensity.scale fixed")
    sites: dict[str, str] = {}
    for path in files_below(root, lambda p: p.name.endswith((".nii", ".nii.gz"))):
        name = NAME.match(path.name)
        if name is None:
            found.leave_out(path.name, "not named as IXI names its volumes")
        elif name["kind"] != "T2":
            found.leave_out(path.name, f"{name['kind']}, not T2")
        elif name["subject"] in sites:
            found.leave_out(path.name, "a second T2 volume of its subject")
        else:
            sites[name["subject"]] = name["site"]
            found.rows.append(CohortRow(name["subject"], Modality.MRI, path))
    splits = ixi_splits(sites)
    found.rows = [replace(row, split=splits[row.patient_id]) for row in found.rows]
    found.rows.sort(key=lambda row: row.patient_id)
    return check_anything_found(found, root, "IXI T2 volume (IXI002-Guys-0828-T2.nii.gz)")


def ixi_splits(sites: dict[str, str]) -> dict[str, Split]:
    """Subject -> split, of subject -> site: 405, 59 and 114 of 578, else in that proportion."""
    order = sorted(sites, key=lambda s: (sites[s], hashlib.sha256(s.encode()).hexdigest()))
    test = _evenly(order, round(len(order) * TEST / VOLUMES))
    left = [subject for subject in order if subject not in test]
    validation = _evenly(left, round(len(order) * VALIDATION / VOLUMES))
    return {
        subject: "test" if subject in test else "validation" if subject in validation else "train"
        for subject in order
    }


def _evenly(items: Sequence[str], count: int) -> set[str]:
    """So many items at even steps, from the middle of each step."""
    return {items[(2 * k + 1) * len(items) // (2 * count)] for k in range(count)}
