"""The benchmark of dataset and feed runs; what it finds is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "dataset.py"


@pytest.mark.slow
@pytest.mark.ray
def test_the_benchmark_ends_with_a_table_and_its_figures() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *table, figures = done.stdout.splitlines()
    found = json.loads(figures)
    assert found.pop("cpu") in table[0]
    assert len(table) == 2 + len(found)
    assert all(value > 0 for value in found.values())
