"""A training job that is interrupted or killed goes on when the same command is given again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amir import checkpoint
from amir.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS, EVERY = 60, 5


def start(dataset: Path, storage: Path) -> subprocess.Popen[str]:
    """The job in a process group of its own, as a terminal starts it."""
    options = {
        "data": dataset,
        "storage": storage,
        "run": "stopped",
        "steps": STEPS,
        "batch": 4,
        "data.crop": 16,
        "model.dim": 4,
        "model.blocks": "1,1,1,1",
        "model.heads": "1,1,1,1",
        "validation.slices": 1,
        "checkpoints.every": EVERY,
        "tracking.uri": "none",
    }
    return subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "jobs" / "train_all_in_one.py"),
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        start_new_session=True,
    )


def wait_for_step(folder: RunFolder, step: int, job: subprocess.Popen[str]) -> None:
    while job.poll() is None and step not in checkpoint.saved_steps(folder.checkpoints):
        time.sleep(0.01)
    assert job.poll() is None, job.communicate()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(590)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_same_command_goes_on_where_the_job_was_stopped(
    tiny_dataset: Path, tmp_path: Path, how: signal.Signals
) -> None:
    folder = RunFolder(tmp_path / "stopped")
    job = start(tiny_dataset, tmp_path)
    wait_for_step(folder, 2 * EVERY, job)
    os.kill(job.pid, how)
    _, said = job.communicate(timeout=60)
    saved = checkpoint.saved_steps(folder.checkpoints)[-1]
    assert saved < STEPS
    if how is not signal.SIGKILL:
        assert job.returncode == 130
        assert "error [interrupted]: run the same command again to go on" in said
        state = json.loads((folder.path / "state.json").read_text())
        assert state == {"status": "failed", "reason": "KeyboardInterrupt"}

    again = start(tiny_dataset, tmp_path)
    out, said = again.communicate(timeout=400)
    assert again.returncode == 0, said
    assert "run stopped: best checkpoint at step 60" in out
    [resumed] = [row["step"] for row in folder.rows() if "note" in row]
    assert resumed >= saved
    trained = [row["step"] for row in folder.rows() if "train/loss" in row]
    assert trained == list(range(1, STEPS + 1))
