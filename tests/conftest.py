"""What tests share: where the reference numbers lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """Numbers made with the published codes; $AMIR_GOLDEN, else ../shared/golden beside the repository."""
    folder = Path(os.environ.get("AMIR_GOLDEN", ROOT.parent / "shared" / "golden"))
    if not folder.is_dir():
        pytest.skip("the reference numbers (golden folder) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def real_scans() -> Path:
    """Real scans; $AMIR_REAL_SCANS, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("AMIR_REAL_SCANS", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real scans are not on this machine")
    return folder
