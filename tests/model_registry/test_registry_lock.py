"""One at a time moves an alias, whoever is killed while holding the lock."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise

import pytest

from amir.config import TrackingSettings
from amir.errors import InputError
from amir.model_registry.lock import locked
from amir.model_registry.versions import ModelRegistry
from amir.tracking import open_run

HOLD = """
import sys, time
from pathlib import Path
from amir.config import TrackingSettings
from amir.model_registry.lock import locked
from amir.model_registry.versions import ModelRegistry
storage, seconds, lease = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
with locked(ModelRegistry.of(TrackingSettings(), storage), lease=lease):
    print("start", time.time(), flush=True)
    time.sleep(seconds)
    print("end", time.time(), flush=True)
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    storage = tmp_path_factory.mktemp("lock")
    open_run(TrackingSettings(), storage, name="makes the tables").finish()
    return ModelRegistry.of(TrackingSettings(), storage)


def hold(registry: ModelRegistry, seconds: float, lease: float = 30.0) -> subprocess.Popen[str]:
    """Another process that holds the lock for some time."""
    storage = registry.address.removeprefix("sqlite:///").removesuffix("/mlflow.db")
    arguments = [sys.executable, "-c", HOLD, storage, str(seconds), str(lease)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> float:
    assert process.stdout is not None
    return float(process.stdout.readline().split()[1])


@pytest.mark.timeout(100)
def test_processes_hold_it_one_after_the_other(registry: ModelRegistry) -> None:
    holders = [hold(registry, 0.3) for _ in range(3)]
    spans = sorted((said(each), said(each)) for each in holders)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert [each.wait(timeout=20) for each in holders] == [0, 0, 0]


@pytest.mark.timeout(100)
def test_a_killed_holder_blocks_until_its_lease_ends(registry: ModelRegistry) -> None:
    holder = hold(registry, 60.0, lease=6.0)
    start = said(holder)
    holder.kill()
    holder.wait(timeout=10)
    with locked(registry, patience=30):
        assert 4 < time.time() - start < 25


@pytest.mark.timeout(100)
def test_who_waits_too_long_learns_for_whom(registry: ModelRegistry) -> None:
    with locked(registry), pytest.raises(InputError, match="others before you") as caught:
        locked(registry, patience=0.1).__enter__()
    assert caught.value.code == "locked"
    with locked(registry, patience=0.1):  # neither left a ticket behind
        pass


def test_a_lease_that_ran_out_is_noticed_by_its_holder(registry: ModelRegistry) -> None:
    with locked(registry, lease=0.3) as ticket:
        ticket.check_holds()
        time.sleep(0.4)
        with pytest.raises(InputError, match=r"lease of .* ran out"):
            ticket.check_holds()
