"""Ray is asked whether it is large enough before anything waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from amir import cluster
from amir.errors import InputError


def nodes(*resources: dict[str, float]) -> list[dict[str, Any]]:
    """What ray.nodes() tells of a cluster with these."""
    return [{"Alive": True, "Resources": each} for each in resources]


def require(monkeypatch: pytest.MonkeyPatch, found: list[dict[str, Any]], **needed: Any) -> None:
    monkeypatch.setattr(cluster, "_nodes", lambda: found)
    cluster.require(**needed, purpose="training", remedy="lower --workers.count")


def test_what_fits_exactly_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    two = nodes({"CPU": 2}, {"CPU": 1.5, "GPU": 1})
    require(monkeypatch, two, cpus=1.5, workers=2, beside=0.5)
    require(monkeypatch, nodes({"CPU": 0.3 * 3}), cpus=0.3, workers=3)
    require(monkeypatch, two, cpus=1, gpus=1)


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        ({"cpus": 4}, "training needs 4 CPUs, the cluster has 3 CPUs; lower --workers.count"),
        ({"cpus": 1, "workers": 3, "beside": 0.25}, "needs 3.25 CPUs, the cluster has 3 CPUs"),
        ({"cpus": 1, "gpus": 1}, "needs 1 CPUs and 1 GPUs, the cluster has 3 CPUs"),
        ({"cpus": 1.5, "workers": 2}, "needs 2 x 1.5 CPUs, each on one node"),
    ],
    ids=["CPUs", "CPUs beside the workers", "GPUs", "CPUs on one node"],
)
def test_what_would_wait_for_ever_is_refused(
    monkeypatch: pytest.MonkeyPatch, needed: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told) as caught:
        require(monkeypatch, nodes({"CPU": 1}, {"CPU": 2}), **needed)
    assert caught.value.code == "too_few_resources"


@pytest.mark.parametrize(
    ("cpus", "gpus", "places"),
    [(1, 0, 12), (2, 0, 6), (1, 1, 3), (1, 0.5, 6), (1, 0.4, 6), (5, 1, 1)],
)
def test_places_for_workers_are_counted_node_by_node(
    monkeypatch: pytest.MonkeyPatch, cpus: float, gpus: float, places: int
) -> None:
    found = nodes({"CPU": 8, "GPU": 2}, {"CPU": 4, "GPU": 1})
    monkeypatch.setattr(cluster, "_nodes", lambda: found)
    assert cluster.places(cpus, gpus) == places


def test_groups_of_workers_leave_room_for_what_serves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_nodes", lambda: nodes({"CPU": 4}, {"CPU": 4}))
    assert cluster.groups(2, cpus=1) == 4
    assert cluster.groups(2, cpus=1, beside=0.6) == 3
    assert cluster.groups(4, cpus=2, beside=0.6) == 0


def test_a_gpu_and_its_cpus_must_be_on_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = nodes({"CPU": 0, "GPU": 1}, {"CPU": 4})
    with pytest.raises(InputError, match="each on one node"):
        require(monkeypatch, apart, cpus=1, gpus=1)


def test_the_cluster_is_counted(ray_cluster: None) -> None:
    assert (cluster.cpus(), cluster.gpus()) == (4, 0)
    with pytest.raises(InputError, match="needs 5 CPUs, the cluster has 4"):
        cluster.require(cpus=5, purpose="this", remedy="ask for less")


EXACT_FIT = """
import os, sys
from functools import partial
from pathlib import Path
from amir import cluster
os.environ.update(cluster.ENVIRONMENT)
import ray
from amir.config import EvaluateSettings, PrepareSettings, TrainSettings
from amir.dataset.prepare import prepare, ray_map
from amir.evaluation.evaluate import evaluate
from amir.training.ray_trainer import run

cohort, out = map(Path, sys.argv[1:])
ray.init(
    address="local",
    num_cpus=1,
    include_dashboard=False,
    runtime_env=cluster.local_environment(),
    **cluster.QUIET,
)
prepare(PrepareSettings(cohort=cohort, out=out / "data"), each=partial(ray_map, at_once=8))
run(TrainSettings.model_validate({
    "data": {"path": out / "data", "crop": 16}, "storage": out, "run": "one", "steps": 2,
    "model": {"dim": 4, "blocks": [1] * 4, "heads": [1] * 4}, "validation": {"slices": 1},
    "workers": {"cpus": 0.75}, "tracking": {"uri": "none"},
}))
evaluate(EvaluateSettings(data=out / "data", models=("one",), out=out / "table", storage=out))
print("done")
"""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(590)
def test_on_a_single_cpu_nothing_hangs_that_was_not_refused(
    phantom_cohort: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXACT_FIT, str(phantom_cohort), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
    )
    assert done.stdout.endswith("done\n"), done.stderr
