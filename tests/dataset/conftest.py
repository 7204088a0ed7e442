"""Scans written as files, and the cohort row that names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from amir.dataset.cohort import CohortRow
from amir.imaging import Scan, write_scan


@pytest.fixture
def row(tmp_path: Path) -> Callable[..., CohortRow]:
    """A cohort row of scans written as NIfTI."""

    def make(target: Scan, degraded: Scan | None = None) -> CohortRow:
        write_scan(target, tmp_path / "target.nii.gz")
        if degraded is not None:
            write_scan(degraded, tmp_path / "degraded.nii.gz")
        return CohortRow(
            "p",
            target.modality,
            tmp_path / "target.nii.gz",
            tmp_path / "degraded.nii.gz" if degraded else None,
        )

    return make
