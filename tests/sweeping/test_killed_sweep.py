"""A sweep whose processes are killed goes on where it was, and runs no optimizer step twice but
those since the last checkpoint.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from amir import checkpoint
from amir.cluster import local_environment
from amir.config import SweepSettings
from amir.sweeping.record import read_sweep
from amir.sweeping.search import run_sweep, sweep_folder
from amir.tracking import mlflow_client
from benchmarks.sweep_kills import steps_again, trial_processes

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS, GRACE, EVERY = 24, 12, 3
Settings = Callable[..., SweepSettings]


@pytest.fixture
def settings(tiny_sweep: Settings, tmp_path: Path) -> Settings:
    def make(**chosen: object) -> SweepSettings:
        made = tiny_sweep(tmp_path, steps=STEPS, grace=GRACE, **chosen)
        every = made.train.checkpoints.model_copy(update={"every": EVERY})
        return made.model_copy(
            update={"train": made.train.model_copy(update={"checkpoints": every})}
        )

    return make


@pytest.fixture
def start(ray_cluster: None, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """start(settings): tune/search.py as a process of its own, on the tests' cluster."""
    import ray

    address = ray.get_runtime_context().gcs_address
    # As `ray job submit` hands it over: workers of the tests' own library and interpreter.
    job = json.dumps({"runtime_env": local_environment()})
    started: list[subprocess.Popen[str]] = []

    def begin(settings: SweepSettings) -> subprocess.Popen[str]:
        file = tmp_path / "sweep.yaml"
        file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
        started.append(
            subprocess.Popen(
                [sys.executable, str(ROOT / "tune" / "search.py"), "--config", str(file)],
                env=os.environ | {"RAY_ADDRESS": address, "RAY_JOB_CONFIG_JSON_ENV_VAR": job},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def wait_for_checkpoint(folder: Path, search: subprocess.Popen[str]) -> None:
    """Until a trial is in the middle of a rung."""
    between = set(range(EVERY, GRACE, EVERY))
    while search.poll() is None:
        if any(
            between & set(checkpoint.saved_steps(file)) for file in folder.glob("*/checkpoints")
        ):
            return
        time.sleep(0.02)
    raise AssertionError(search.communicate()[0])


@pytest.mark.timeout(240)
def test_a_search_that_was_killed_in_the_middle_of_a_trial_goes_on(
    start: Callable[..., subprocess.Popen[str]], settings: Settings
) -> None:
    asked = settings(trials=2, tracking={"uri": "none"})
    search = start(asked)
    wait_for_checkpoint(sweep_folder(asked), search)
    search.send_signal(signal.SIGKILL)
    search.wait()
    killed = read_sweep(sweep_folder(asked))
    assert "running" in [trial.state for trial in killed.trials]
    sweep = run_sweep(asked)
    assert [t.parameters for t in sweep.trials[: len(killed.trials)]] == [
        t.parameters for t in killed.trials
    ]
    assert len(sweep.trials) == 2
    assert {t.state for t in sweep.trials} <= {"finished", "stopped"}
    steps_again(sweep, EVERY)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_says_how_to_go_on_and_does(
    start: Callable[..., subprocess.Popen[str]], settings: Settings, how: signal.Signals
) -> None:
    asked = settings(trials=2, tracking={"uri": "none"})
    search = start(asked)
    wait_for_checkpoint(sweep_folder(asked), search)
    search.send_signal(how)
    said, _ = search.communicate(timeout=60)
    assert search.returncode == 130, said
    assert "run the same command again to go on" in said
    again = start(asked)
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert "2 of 2 ended" in said
    steps_again(read_sweep(sweep_folder(asked)), EVERY)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10))
def test_kills_at_random_times_cost_no_more_than_the_steps_since_a_checkpoint(
    start: Callable[..., subprocess.Popen[str]], settings: Settings, seed: int
) -> None:
    chance = random.Random(seed)
    asked = settings(trials=4, confirm={"top": 1, "seeds": 1}, max_failures=10)
    folder = sweep_folder(asked)
    kills = {"search": 0, "trial": 0}
    search = start(asked)
    while sum(kills.values()) < 3 and search.poll() is None:
        wait_for_checkpoint(folder, search)
        time.sleep(chance.uniform(0.0, 4.0))
        if chance.random() < 0.5:
            search.kill()
            search.communicate()
            kills["search"] += 1
            search = start(asked)
        elif processes := trial_processes(folder):
            os.kill(chance.choice(processes), signal.SIGKILL)
            kills["trial"] += 1
    said, _ = search.communicate()
    assert search.returncode == 0, said
    sweep = read_sweep(folder)
    assert len(sweep.search) == 4
    assert len(sweep.trials) == 5
    assert {trial.state for trial in sweep.trials} <= {"finished", "stopped"}
    client = mlflow_client(f"sqlite:///{folder.parent / 'mlflow.db'}")
    [experiment] = client.search_experiments(filter_string="name = 'amir'")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 1 + len(sweep.trials)
    whole = sum(trial.step for trial in sweep.trials)
    sys.stdout.write(
        f"\nseed {seed}: {kills}, {sum(steps_again(sweep, EVERY))} of {whole} steps again\n"
    )
