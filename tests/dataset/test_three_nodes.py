"""The same cohort gives the same bytes on one node and on three."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from amir.config import PrepareSettings
from amir.dataset.prepare import prepare

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: it may not share the other tests' Ray.
ON_THREE_NODES = """
import json, sys
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from amir.config import PrepareSettings
from amir.dataset.prepare import prepare, ray_map

cohort, out, temporary = sys.argv[1:]
head = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args={**head, "temp_dir": temporary})
for _ in range(2):
    cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
try:
    ray.init(address=cluster.address, log_to_driver=False)
    nodes = sum(node["Alive"] for node in ray.nodes())
    prepare(PrepareSettings(cohort=Path(cohort), out=Path(out)), each=ray_map)
    print(json.dumps({"nodes": nodes}))
finally:
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(400)
def test_shards_made_on_three_nodes_have_the_bytes_of_those_made_on_one(
    phantom_cohort: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one = prepare(PrepareSettings(cohort=phantom_cohort, out=tmp_path / "one"), each=map)
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    temporary = f"/tmp/ray-three-{os.getpid()}"  # a socket's path may have about 107 bytes
    done = subprocess.run(
        [sys.executable, "-c", ON_THREE_NODES, phantom_cohort, tmp_path / "three", temporary],
        capture_output=True,
        text=True,
        timeout=350,
        env=environment,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert '{"nodes": 3}' in done.stdout
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 13
    for file in files:
        three = tmp_path / "three" / file
        assert three.read_bytes() == (tmp_path / "one" / file).read_bytes(), file
    assert one.dataset_digest in (tmp_path / "three" / "manifest.json").read_text()
