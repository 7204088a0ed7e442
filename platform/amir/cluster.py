"""Connecting to Ray, and asking first whether it is large enough: Ray waits for ever for what it
lacks.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import socket
import sys
from pathlib import Path
from typing import Any

import amir
from amir.errors import InputError

# Read by Ray when it is imported or started; what the operator has set is kept.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",  # a local cluster listens on loopback only; clusters set "token"
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_worker_niceness": "0",  # at Ray's 15, whatever else runs here stops the training
}
# What workers print stays in Ray's session folder; the job says what its user needs to know.
QUIET: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}


def connect() -> None:
    """Use the Ray this process already has, else the cluster of $RAY_ADDRESS, else start one on
    this machine.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    if address := os.environ.get("RAY_ADDRESS"):
        _attach(address)
    else:
        ray.init(address="local", include_dashboard=False, runtime_env=local_environment(), **QUIET)


def require(
    *, cpus: float, gpus: int = 0, workers: int = 1, beside: float = 0, purpose: str, remedy: str
) -> None:
    """InputError("too_few_resources") unless the nodes can hold so much at once.

    cpus, gpus: of each worker, which must fit on one node. beside: CPUs needed besides, anywhere.
    What other jobs use at the moment is not deducted: it becomes free.
    """
    nodes = [node["Resources"] for node in _nodes()]
    needed = _wording(workers * cpus + beside, workers * gpus)
    have = _wording(_total(nodes, "CPU"), _total(nodes, "GPU"))
    if workers * cpus + beside > _total(nodes, "CPU") or workers * gpus > _total(nodes, "GPU"):
        raise InputError(
            "too_few_resources", f"{purpose} needs {needed}, the cluster has {have}; {remedy}"
        )
    if sum(_places(node, cpus, gpus) for node in nodes) < workers:
        raise InputError(
            "too_few_resources",
            f"{purpose} needs {workers} x {_wording(cpus, gpus)}, each on one node; the cluster "
            f"has {have} on {len(nodes)} nodes, which do not hold that; {remedy}",
        )


def places(cpus: float, gpus: float = 0) -> int:
    """Workers that the nodes hold at once. gpus: of each, a whole number or a share of one."""
    return sum(_places(node["Resources"], cpus, gpus) for node in _nodes())


def groups(workers: int, *, cpus: float, gpus: float = 0, beside: float = 0) -> int:
    """Groups of so many workers that the nodes hold at once. beside: CPUs of a group anywhere."""
    total = _total([node["Resources"] for node in _nodes()], "CPU")
    by_cpus = int(total / (workers * cpus + beside) + 1e-9)
    return min(by_cpus, places(cpus, gpus) // workers)


def cpus() -> float:
    """CPUs of the whole cluster."""
    return _total([node["Resources"] for node in _nodes()], "CPU")


def gpus() -> int:
    """GPUs of the whole cluster."""
    return int(_total([node["Resources"] for node in _nodes()], "GPU"))


def _attach(address: str) -> None:
    import ray

    try:
        # Ray itself would try for minutes.
        if place := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):
            socket.create_connection((place[1], int(place[2])), timeout=10).close()
        ray.init(**QUIET)
    except OSError as error:
        raise InputError(
            "invalid_setting",
            f"no Ray cluster answers at RAY_ADDRESS={address}: {error}. Start it, or unset "
            "RAY_ADDRESS to use this machine",
        ) from None


def local_environment() -> dict[str, Any]:
    """What workers on this machine need to find this very library with this very interpreter."""
    library = str(Path(amir.__file__).parent.parent)
    paths = [library, *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p)]
    return {
        "env_vars": {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))},
        # Ray puts it into a shell command: unquoted, no worker starts in a folder with a space.
        "py_executable": shlex.quote(sys.executable),
    }


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _total(nodes: list[dict[str, float]], name: str) -> float:
    return float(sum(node.get(name, 0) for node in nodes))


def _places(node: dict[str, float], cpus: float, gpus: float) -> int:
    """Workers that fit on an otherwise empty node; a share of a GPU is of one, not of two."""
    by_cpus = int(node.get("CPU", 0) / cpus + 1e-9)
    if not gpus:
        return by_cpus
    there = node.get("GPU", 0)
    by_gpus = int(there) * int(1 / gpus + 1e-9) if gpus < 1 else int(there // gpus)
    return min(by_cpus, by_gpus)


def _wording(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
