"""Connecting to Ray, and asking first whether it is large enough: Ray waits for ever for what it
lacks.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import amir
from amir.errors import InputError

# Read by Ray when it is imported or started; what the operator has set is kept.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",  # a local cluster listens on loopback only; clusters set "token"
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
}


def connect() -> None:
    """Use the Ray this process already has, else the cluster of $RAY_ADDRESS, else start one on
    this machine.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    quiet = {"logging_level": logging.WARNING, "log_to_driver": False}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
        return
    library = str(Path(amir.__file__).parent.parent)
    paths = [library, *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p)]
    ray.init(
        address="local",
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}},
        **quiet,
    )


def require(*, cpus: float, gpus: float = 0, purpose: str, remedy: str) -> None:
    """InputError("too_few_resources") unless the cluster has so much in all."""
    import ray

    have = ray.cluster_resources()
    for name, needed in (("CPU", cpus), ("GPU", gpus)):
        if needed > have.get(name, 0) + 1e-9:
            raise InputError(
                "too_few_resources",
                f"{purpose} needs {needed:g} {name}s, the cluster has {have.get(name, 0):g}; {remedy}",
            )


def cpus() -> int:
    """CPUs of the whole cluster."""
    import ray

    return int(ray.cluster_resources().get("CPU", 1))
