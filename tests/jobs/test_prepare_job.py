"""jobs/prepare_dataset.py as users run it: verifying, showing, and a machine that dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amir.config import PrepareSettings
from amir.dataset.manifest import read_manifest
from amir.dataset.prepare import prepare
from amir.modality import Modality
from amir.phantoms import write_phantom_cohort

ROOT = Path(__file__).resolve().parents[2]


def run(*options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*options), capture_output=True, text=True, timeout=100)


def command(*options: object) -> list[str]:
    return [sys.executable, str(ROOT / "jobs" / "prepare_dataset.py"), *map(str, options)]


def test_a_finished_dataset_is_shown_then_verified_and_a_corrupt_file_is_named(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    manifest = read_manifest(shutil.copytree(tiny_dataset, out))
    shown = run("--out", out, "--preview")
    assert shown.returncode == 0, shown.stderr
    assert f"preview: {out / 'preview.html'}" in shown.stdout
    shard = manifest.of("test")[0]
    content = bytearray((out / shard.file).read_bytes())
    content[len(content) // 2] ^= 1
    (out / shard.file).write_bytes(content)
    corrupt = run("--verify", "--out", out)
    assert (corrupt.returncode, corrupt.stdout) == (3, "")
    assert corrupt.stderr.startswith(f"error [refused]: shard {shard.file} (patient ")


def shards(folder: Path) -> dict[str, bytes]:
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in folder.glob("*/*.parquet")}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(400)
def test_a_job_killed_in_the_middle_ends_with_the_bytes_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    cohort = write_phantom_cohort(
        tmp_path / "cohort",
        subjects_per_modality={"train": 4, "validation": 1, "test": 1},
        size=96,
        slices={Modality.MRI: 10, Modality.CT: 8, Modality.PET: 48},
    )
    undisturbed = prepare(PrepareSettings(cohort=cohort, out=tmp_path / "whole"), each=map)
    out = tmp_path / "data"
    options = command("--cohort", cohort, "--out", out, "--cpus", 1)
    environment = {name: v for name, v in os.environ.items() if name != "RAY_ADDRESS"}
    job = subprocess.Popen(
        options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    while job.poll() is None and len(list(tmp_path.glob(".data.*/records/*.json"))) < 5:
        time.sleep(0.01)
    os.kill(job.pid, signal.SIGKILL)
    job.communicate(timeout=60)
    (hidden,) = tmp_path.glob(".data.preparing-*")
    finished = {record.stem for record in (hidden / "records").glob("*.json")}
    assert 5 <= len(finished) < len(list((tmp_path / "cohort").glob("phantom-*")))
    times = {
        path.name: path.stat().st_mtime_ns
        for path in hidden.glob("*/*.parquet")
        if path.stem in finished
    }

    again = subprocess.run(options, capture_output=True, text=True, timeout=300, env=environment)
    assert again.returncode == 0, again.stderr
    assert "prepared scans: 18 of 18" in again.stdout
    assert read_manifest(out) == undisturbed
    assert shards(out) == shards(tmp_path / "whole")
    assert list(tmp_path.glob(".data.*")) == []
    for path in out.glob("*/*.parquet"):
        assert times.get(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
