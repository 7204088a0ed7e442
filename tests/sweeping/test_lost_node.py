"""A sweep that loses a node ends on what is left, and its trials go on from their checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from amir.config import SweepSettings
from amir.sweeping.record import read_sweep
from amir.sweeping.search import sweep_folder
from amir.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
STEPS, EVERY = 300, 10
# In a process of its own: it may not share the other tests' Ray. Each node holds one trial.
SEARCH = """
import sys, threading, time
from pathlib import Path

import ray
import yaml
from ray.cluster_utils import Cluster

from amir.cluster import local_environment
from amir.command_line import validate
from amir.config import SweepSettings
from amir.sweeping.search import run_sweep, sweep_folder

file, temporary = sys.argv[1:]
settings = validate(SweepSettings, yaml.safe_load(Path(file).read_text()))
node = {"num_cpus": 1, "object_store_memory": 100_000_000}
head = {**node, "include_dashboard": False, "temp_dir": temporary}
cluster = Cluster(initialize_head=True, head_node_args=head)
lost = cluster.add_node(**node)

def lose_a_node_when_both_train():
    while len(list(sweep_folder(settings).glob("*/checkpoints/*/digests.json"))) < 2 or len(
        [run for run in sweep_folder(settings).glob("*/checkpoints") if any(run.iterdir())]
    ) < 2:
        time.sleep(0.02)
    cluster.remove_node(lost, allow_graceful=False)
    print("lost a node", flush=True)

try:
    ray.init(
        address=cluster.address, runtime_env=local_environment(), log_to_driver=False
    )
    threading.Thread(target=lose_a_node_when_both_train, daemon=True).start()
    run_sweep(settings)
    print("nodes left:", sum(node["Alive"] for node in ray.nodes()), flush=True)
finally:
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(500)
def test_a_sweep_that_loses_a_node_ends_on_the_other(
    tiny_sweep: Callable[..., SweepSettings], tmp_path: Path
) -> None:
    asked = tiny_sweep(tmp_path, steps=STEPS, grace=STEPS // 2, trials=3, tracking={"uri": "none"})
    tree = asked.model_dump(mode="json")
    tree["train"]["checkpoints"]["every"] = EVERY
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(tree))
    temporary = f"/tmp/ray-lost-{os.getpid()}"  # a socket's path may have about 107 bytes
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(file), temporary],
        capture_output=True,
        text=True,
        timeout=450,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost a node" in done.stdout
    assert "nodes left: 1" in done.stdout
    sweep = read_sweep(sweep_folder(asked))
    assert len(sweep.trials) == 3
    assert {trial.state for trial in sweep.trials} <= {"finished", "stopped"}
    again = []
    for trial in sweep.trials:
        rows = RunFolder(sweep.folder / trial.name).rows()
        steps = [row["step"] for row in rows if "train/loss" in row]
        assert steps == list(range(1, trial.step + 1))
        again += [row["again"] for row in rows if "again" in row]
    assert again, "no trial was interrupted"
    assert max(again) <= EVERY
