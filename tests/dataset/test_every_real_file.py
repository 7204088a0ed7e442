"""Nothing is lost: every file of the example data is in a shard, or refused with its reason."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from amir.config import PrepareSettings
from amir.dataset.cohort import SPLITS, CohortRow, by_patient, read_cohort, write_cohort
from amir.dataset.manifest import Manifest, verify
from amir.dataset.prepare import prepare
from amir.dataset.preview import write_preview
from amir.dataset.sources import scan_files
from amir.dataset.summary import summary
from amir.modality import Modality

ROOT = Path(__file__).resolve().parents[2]
NO_SCANS = {"SOURCES.md", "SHA256SUMS"}
FOLDERS = {"mri": Modality.MRI, "ct": Modality.CT, "pet": Modality.PET}


def listed_in_sources(folder: Path) -> Iterator[tuple[Path, str]]:
    """(path, content) of every row of the tables in SOURCES.md."""
    for line in (folder / "SOURCES.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if re.match(r"(mri|ct|pet|oddities)/", cells[0]):
            yield folder / cells[0].rstrip("/"), cells[-1]


def everything(folder: Path) -> list[CohortRow]:
    """A row for each scan that SOURCES.md names; the splits are those of examples/real_scans.csv.

    Oddities are patients of their own, to train on; slices of one series are one scan.
    """
    with (ROOT / "examples" / "real_scans.csv").open(newline="") as file:
        examples = {row["patient_id"]: row for row in csv.DictReader(file)}
    rows: dict[Path, CohortRow] = {}
    for path, content in listed_in_sources(folder):
        if path.is_relative_to(folder / "oddities"):
            series = path.parent.name.startswith("dcm_qa_frag")
            scan = path.parent if series else path
            modality = Modality.MRI if re.search(r"\bMR\b", content) else Modality.CT
            rows[scan] = CohortRow(f"odd-{scan.name}", modality, scan, None, "train")
        else:
            patient = path.name.split("_")[0]
            known = examples.get(patient, {})
            # Two slices of two dates: the only folders that are no series.
            for scan in sorted(path.iterdir()) if "axial2" in path.name else [path]:
                rows[scan] = CohortRow(
                    patient,
                    FOLDERS[path.parent.name],
                    scan,
                    None,
                    known.get("split") or "train",  # type: ignore[arg-type]
                    known.get("linked_to") or None,
                )
    return list(rows.values())


def two_at_a_time(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield from pool.map(function, items)


def account(rows: Sequence[CohortRow], manifest: Manifest) -> dict[Path, str]:
    """Every file of every row -> the shard it went to, or why it did not."""
    fates = {entry.number: entry.file for split in SPLITS for entry in manifest.of(split)}
    for refused in manifest.refused:
        fates[refused.number] = f"refused [{refused.code}]: {refused.reason}"
    return {
        file: fates[number]
        for number, row in enumerate(by_patient(rows))
        for file in scan_files(row.target)
    }


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_file_is_in_a_shard_or_refused_with_its_reason(
    real_scans: Path, tmp_path: Path
) -> None:
    write_cohort(tmp_path / "everything.csv", everything(real_scans))
    rows = read_cohort(tmp_path / "everything.csv")
    out = tmp_path / "everything"
    chosen = PrepareSettings(cohort=tmp_path / "everything.csv", out=out, bad_scans="skip")
    manifest = prepare(chosen, each=two_at_a_time)

    fates = account(rows, manifest)
    files = [path for path in real_scans.rglob("*") if path.is_file()]
    assert {path for path in files if path.name not in NO_SCANS} == fates.keys()
    assert all(fate.endswith(".parquet") or "]: " in fate for fate in fates.values())
    assert verify(out) == []
    assert len(manifest.refused) + sum(len(manifest.of(s)) for s in SPLITS) == len(rows)
    kinds = Counter("refused" if "]: " in fate else "in a shard" for fate in fates.values())
    print(summary(manifest))  # noqa: T201
    print(f"{len(files)} files: {dict(kinds)}; preview {write_preview(out, manifest)}")  # noqa: T201
