"""`ray job submit` to a cluster whose nodes know of the library only what a job brings."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
OPTIONS = {
    "run": "submitted",
    "steps": "4",
    "batch": "4",
    "data.crop": "16",
    "model.dim": "4",
    "model.blocks": "1,1,1,1",
    "model.heads": "1,1,1,1",
    "validation.slices": "2",
    "workers.count": "2",
    "workers.cpus": "0.75",
}

SWEEP = {
    "search": "random",
    "scheduler.grace": "2",
    "confirm.top": "0",
    "train.steps": "4",
    "train.data.crop": "16",
    "train.model.dim": "4",
    "train.model.heads": "1,1,1,1",
    "train.optimizer.warmup_steps": "1",
    "train.validation.every": "2",
    "train.validation.slices": "1",
    "train.checkpoints.every": "2",
}


@dataclass(frozen=True)
class Head:
    """A running head node: its interpreter, its environment, its job server."""

    python: Path
    environment: dict[str, str]
    address: str

    def ray(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "-m", "ray.scripts.scripts", *arguments],
            cwd="/",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def submit(self, *entrypoint: str) -> subprocess.CompletedProcess[str]:
        """As the README says it, from the repository."""
        place = ["--address", self.address, "--working-dir", str(ROOT)]
        environment = ["--runtime-env", str(ROOT / "runtime_env.yaml")]
        return self.ray("job", "submit", *place, *environment, "--", *entrypoint)


@pytest.fixture(scope="module")
def python_without_amir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with every package of this one but the library, however that is installed.

    A folder named in a .pth file is searched, but .pth files in it, as of an editable
    installation, are not read.
    """
    folder = tmp_path_factory.mktemp("node")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def head(python_without_amir: Path) -> Iterator[Head]:
    python = python_without_amir
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHON"))}
    environment |= {
        "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]]),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    gcs, dashboard, client, agent, agent_grpc = free_ports(5)
    command = f"""
        -m ray.scripts.scripts start --head --block --num-cpus=4 --temp-dir={folder}
        --node-ip-address=127.0.0.1 --port={gcs} --ray-client-server-port={client}
        --dashboard-host=127.0.0.1 --dashboard-port={dashboard}
        --dashboard-agent-listen-port={agent} --dashboard-agent-grpc-port={agent_grpc}
        --object-store-memory=200000000 --disable-usage-stats
    """
    process = subprocess.Popen(
        [python, *command.split()],
        cwd="/",
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{dashboard}"
        wait_for(f"{address}/api/jobs/")
        wait_for(f"http://127.0.0.1:{agent}/api/local_raylet_healthz")
        yield Head(python, environment, address)
    finally:
        for pid in [*descendants(process.pid), process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5)
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise TimeoutError(f"{url} does not answer")


def descendants(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(child) for child in listed.read_text().split()] if listed.exists() else []
    return [below for child in children for below in (*descendants(child), child)]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(590)
def test_a_submitted_job_brings_the_library_along(
    head: Head, tiny_dataset: Path, tmp_path: Path
) -> None:
    found = head.ray(
        "job", "submit", "--address", head.address, "--", "python", "-c", "import amir"
    )
    assert found.returncode != 0
    assert "No module named 'amir'" in found.stdout + found.stderr

    storage = tmp_path / "storage"
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    command = ["python", "jobs/train_all_in_one.py", f"--data={tiny_dataset}", *options]
    done = head.submit(*command, f"--storage={storage}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "run submitted: best checkpoint at step 4" in done.stdout
    assert (storage / "submitted" / "checkpoints" / "4" / "digests.json").is_file()

    with sqlite3.connect(storage / "mlflow.db") as database:
        [tags] = database.execute("SELECT value FROM tags WHERE key = 'amir.ray_job'").fetchall()
    assert f"Job '{tags[0]}' succeeded" in done.stdout

    again = head.submit(*command, f"--storage={storage}")
    assert again.returncode != 0
    assert "error [run_exists]: run submitted is finished after 4 steps" in again.stdout
    assert "failed with exit code 2" in again.stdout + again.stderr


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(590)
def test_a_submitted_sweep_goes_on_with_more_trials(
    head: Head, tiny_dataset: Path, tmp_path: Path
) -> None:
    options = [f"--{name}={value}" for name, value in SWEEP.items()]
    command = ["python", "tune/search.py", "--config=tune/configs/small_routing.yaml", *options]
    command += [f"--data={tiny_dataset}", f"--storage={tmp_path}"]
    done = head.submit(*command, "--trials=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 ended" in done.stdout
    longer = head.submit(*command, "--trials=3")
    assert longer.returncode == 0, longer.stdout + longer.stderr
    assert "3 of 3 ended" in longer.stdout
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        runs = database.execute("SELECT name FROM runs ORDER BY name").fetchall()
    assert [name for (name,) in runs] == ["000", "001", "002", "small-routing"]
    wide = head.submit(*command, "--trials=4", "--concurrency=5")
    assert "failed with exit code 2" in wide.stdout + wide.stderr
    assert "5 trials at a time, each of 1 workers with 1 CPUs, do not fit" in wide.stdout
