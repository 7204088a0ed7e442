"""An evaluation job that is killed goes on when the same command is given again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def start(dataset: Path, model: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "jobs" / "evaluate.py"), "--data", str(dataset)]
    command += ["--models", str(model), "--out", str(out), "--other-dataset", "true"]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(590)
def test_the_same_command_goes_on_after_a_kill_and_ends_with_the_same_bytes(
    tiny_dataset: Path, tmp_path: Path, save_checkpoint: Callable[..., Any]
) -> None:
    model = save_checkpoint(tmp_path / "model" / "3").folder
    out = tmp_path / "killed"
    job = start(tiny_dataset, model, out)
    while job.poll() is None and not list(out.glob("parts/*/test-*.parquet")):
        time.sleep(0.005)
    job.send_signal(signal.SIGKILL)
    job.communicate(timeout=60)
    assert not (out / "evaluation.json").exists()

    again = start(tiny_dataset, model, out)
    said, errors = again.communicate(timeout=250)
    assert again.returncode == 0, errors
    assert "| Degraded input |" in said
    undisturbed = start(tiny_dataset, model, tmp_path / "whole")
    assert undisturbed.communicate(timeout=250)
    for file in sorted(path.name for path in out.iterdir() if path.is_file()):
        assert (out / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
