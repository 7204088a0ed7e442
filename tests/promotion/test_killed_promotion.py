"""A promotion killed at any moment has happened, or has not: nothing in between is ever visible."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from amir.checkpoint import Checkpoint
from amir.config import PromoteSettings, TrackingSettings
from amir.model_registry.versions import ModelRegistry
from amir.tracking import open_run

KILLS = 50
# Forks itself for each try: Python's imports would take longer than what is to be killed.
KILLER = """
import json, os, random, shutil, signal, sys, time
import torch
from amir.config import PromoteSettings
from amir.errors import InputError
from amir.evaluation.scores import in_process
from amir.model_registry.versions import CHAMPION, ModelRegistry
from amir.promotion.promote import promote, rollback
from amir.references import find_model
import mlflow, mlflow.artifacts, sqlalchemy, scipy.stats, scipy.ndimage, matplotlib.pyplot

torch.set_num_threads(1)
settings = PromoteSettings.model_validate_json(sys.argv[1])
kills, old = int(sys.argv[2]), int(sys.argv[3])

def child(work):
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(json.dumps({"error": repr(error)}), flush=True)
            os._exit(1)
    return pid

def forget():
    shutil.rmtree(settings.storage / "promotions", ignore_errors=True)

def run():
    promote(settings, each=in_process)

def look():
    registry = ModelRegistry.of(settings.tracking, settings.storage)
    now = registry.at(CHAMPION)
    model = find_model("models:/amir@champion", storage=settings.storage)
    sound = model.digest == now.digest and (now.number == old or (
        now.tags["amir.verdict"] == "accepted" and now.replaces == old
        and (model.folder / "card.md").is_file()))
    if now.number != old:
        rollback(registry, CHAMPION)
        sound = sound and registry.at(CHAMPION).number == old
    print(json.dumps({"promoted": now.number != old, "sound": sound}), flush=True)

start = time.monotonic()
os.waitpid(child(run), 0)
whole = time.monotonic() - start
os.waitpid(child(look), 0)
random.seed(0)
for _ in range(kills):
    forget()
    pid = child(run)
    time.sleep(random.uniform(0, 1.1) * whole)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.waitpid(child(look), 0)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_at_any_moment_leaves_a_whole_champion(
    off_by: Callable[[float], Checkpoint],
    asked: Callable[..., PromoteSettings],
    enthrone: Callable[[ModelRegistry, Checkpoint, str], int],
    record_property: Callable[[str, object], None],
) -> None:
    settings = asked(off_by(0.1))
    run = open_run(TrackingSettings(), settings.storage, name="run")
    registry = ModelRegistry.of(TrackingSettings(), settings.storage)
    old = enthrone(registry, off_by(0.5), run.id)
    done = subprocess.run(
        [sys.executable, "-c", KILLER, settings.model_dump_json(), str(KILLS), str(old)],
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    seen = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(seen) == 1 + KILLS, done.stderr
    assert all(each.get("sound") for each in seen), seen
    assert seen[0]["promoted"]
    record_property("promoted before the kill", sum(each["promoted"] for each in seen[1:]))
    shutil.rmtree(settings.storage)
