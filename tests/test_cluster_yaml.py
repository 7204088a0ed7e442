"""cluster.yaml: accepted by the launcher, pinned to the lock, closed to strangers."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("setup_commands", "head_setup_commands", "worker_setup_commands")
STARTS = ("head_start_ray_commands", "worker_start_ray_commands")


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def validate(cluster: dict[str, Any]) -> None:
    # Private, and the only check without a cloud: `ray up` has no dry run. Ray is pinned.
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(copy.deepcopy(cluster)))


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_launcher_accepts_it(cluster: dict[str, Any]) -> None:
    validate(cluster)


@pytest.mark.parametrize(
    ("key", "value"), [("head_node_type", "none"), ("max_workers", 0), ("typo", 1)]
)
def test_the_launcher_would_refuse_a_mistake(
    cluster: dict[str, Any], key: str, value: object
) -> None:
    import jsonschema

    with pytest.raises((ValueError, jsonschema.ValidationError)):
        validate(cluster | {key: value})


def test_it_scales_gpu_workers_between_stated_limits(cluster: dict[str, Any]) -> None:
    workers = {k: v for k, v in cluster["available_node_types"].items() if k != "head"}
    assert all({"min_workers", "max_workers"} <= set(settings) for settings in workers.values())
    assert all(
        w["min_workers"] <= w["max_workers"] <= cluster["max_workers"] for w in workers.values()
    )
    assert cluster["idle_timeout_minutes"] > 0
    assert cluster["upscaling_speed"] > 0


def test_every_package_is_pinned_and_torch_as_in_the_lock(cluster: dict[str, Any]) -> None:
    installs = [
        install
        for name in COMMANDS
        for command in cluster[name]
        for install in re.findall(r"pip install ([^;]+)", command)
    ]
    wanted = [word for install in installs for word in install.split() if "==" in word]
    assert len(installs) == len(wanted) + sum("-r ~/amir/requirements.lock" in i for i in installs)
    assert {w for w in wanted if w.startswith("torch")} == {f"torch=={locked()['torch']}"}


def test_every_node_starts_with_token_authentication(cluster: dict[str, Any]) -> None:
    starts = [command for name in STARTS for command in cluster[name] if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "~/.ray/auth_token" in cluster["file_mounts"]


def test_the_dashboard_listens_on_the_head_alone(cluster: dict[str, Any]) -> None:
    head = " ".join(cluster["head_start_ray_commands"])
    assert re.findall(r"--dashboard-host=(\S+)", head) == ["127.0.0.1"]


def test_the_lock_names_versions_and_nothing_else() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert [line for line in packages if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert [line for line in packages if re.match("nvidia|cuda|torchvision", line)] == []


def test_triton_is_the_one_that_the_cuda_build_of_torch_asks_for() -> None:
    """On a GPU machine any other would not install beside torch; on a CPU tests interpret it."""
    wanted = {"2.13.0": "3.7.1"}  # torch's wheels on PyPI say so in their metadata
    assert locked()["triton"] == wanted[locked()["torch"]]
