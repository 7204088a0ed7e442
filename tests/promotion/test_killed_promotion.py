"""A promotion killed at any moment has happened, or has not: nothing in between is ever visible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def faults(*options: str) -> dict[str, dict[str, object]]:
    """What benchmarks/registry_faults.py found, by section."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.registry_faults", *options],
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_before_or_after_any_request_leaves_a_whole_champion() -> None:
    found = faults("--only", "kills")["kills"]
    assert found["tries"] >= 50
    assert found["not_sound"] == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_registry_that_goes_away_at_any_request_leaves_a_whole_champion() -> None:
    assert faults("--database", "server", "--only", "down")["down"]["not_sound"] == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rivals_each_replace_the_champion_they_were_judged_against() -> None:
    found = faults("--only", "rivals")["rivals"]
    assert (found["rivals"], found["sound"]) == (10, True)
