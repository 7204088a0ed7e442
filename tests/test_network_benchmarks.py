"""The benchmarks of the network run; what they find is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
QUICK = ("--tiny", "--size", "16x24", "--batch", "1", "--rounds", "1")


def told(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *QUICK, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "arguments"), [("inference.py", ()), ("train_step.py", ("--recompute",))]
)
def test_the_last_line_holds_the_figures(script: str, arguments: tuple[str, ...]) -> None:
    found = json.loads(told(script, *arguments, "--json").splitlines()[-1])
    assert found["max_error"] < 1e-5
    assert found["ours_seconds"] > 0
    assert "ratio" not in found  # there was nothing beside it


@pytest.mark.slow
@pytest.mark.parametrize("script", ["inference.py", "train_step.py"])
def test_a_single_layer_is_timed_and_all_are_listed(script: str) -> None:
    assert "ours, default allocator" in told(script, "--layer", "decoder.1.0.attention")
    assert "| part | seconds | share |" in told(script, "--layers")
