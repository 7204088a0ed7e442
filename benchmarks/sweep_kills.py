"""A sweep whose search and trials are killed at random times: what was run twice in the end.

    PYTHONPATH=platform python -m benchmarks.sweep_kills [--kills 30] [--data DIR] [--quick]

The search is tune/search.py, started again with the same command whenever it was killed; its Ray
dies with it, trials and all. A trial is the process that trains. Without --data the trainings are
of phantoms. Exit code 0 when every trial came to its end, each once, in the record and in MLflow,
and no kill cost a trial more than the steps since its last checkpoint; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from amir.command_line import validate
from amir.config import SweepSettings
from amir.sweeping.record import Sweep, read_sweep
from amir.sweeping.search import sweep_folder
from amir.tracking import mlflow_client
from amir.training.run_folder import RunFolder
from benchmarks.known_models import TINY, phantom_dataset

ROOT = Path(__file__).resolve().parent.parent
EVERY = 5  # steps between checkpoints
LONGEST_WAIT = 6.0  # seconds from the first new step to the kill


def sweep_of(data: Path, storage: Path, *, trials: int, steps: int) -> SweepSettings:
    tree: dict[str, Any] = {
        "name": "killed",
        "space": {
            "model.top_k": {"lower": 1, "upper": "model.experts"},
            "model.experts": {"values": [2, 4]},
            "optimizer.learning_rate": {"lower": 1e-4, "upper": 1e-2, "log": True},
        },
        "trials": trials,
        "scheduler": {"grace": steps // 4, "reduction": 4},
        "confirm": {"top": 1, "seeds": 1},
        "max_failures": 100,
        "train": {
            "data": {"path": data, "crop": 16, "sampling": "uniform"},
            "steps": steps,
            "batch": 3,
            "model": TINY,
            "validation": {"every": steps // 4, "slices": 1},
            "checkpoints": {"every": EVERY},
        },
        "storage": storage,
    }
    return validate(SweepSettings, tree)


def start(settings: SweepSettings, log: Path) -> subprocess.Popen[bytes]:
    """tune/search.py on a Ray of its own; what it prints is added to the log."""
    file = settings.storage / "sweep.yaml"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "tune" / "search.py"), "--config", str(file)],
            env=environment | {"PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}"},
            stdout=output,
            stderr=output,
        )


def kill_at_random(settings: SweepSettings, log: Path, *, kills: int) -> dict[str, int]:
    """Kill search or trial so many times, each at some moment after a new step; then let it end."""
    chance, done = random.Random(0), {"search": 0, "trial": 0}
    folder = sweep_folder(settings)
    search = start(settings, log)
    try:
        while sum(done.values()) < kills and wait_for_steps(folder, search):
            time.sleep(chance.uniform(0.0, LONGEST_WAIT))
            trials = trial_processes(folder)
            if chance.random() < 0.5 or not trials:
                search.kill()
                search.wait()
                wait_until_gone(folder)
                done["search"] += 1
                search = start(settings, log)
            else:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(trials), signal.SIGKILL)
                    done["trial"] += 1
        if search.wait():
            raise RuntimeError(f"tune/search.py ended with {search.returncode}: {log.read_text()}")
    finally:
        search.kill()
        search.wait()
    return done


def wait_for_steps(folder: Path, search: subprocess.Popen[bytes]) -> bool:
    """Until a step is made that was not made before; False if the search ends first."""
    before = steps_made(folder)
    while search.poll() is None:
        if steps_made(folder) > before:
            return True
        time.sleep(0.05)
    return False


def steps_made(folder: Path) -> int:
    return sum(len(RunFolder(file.parent).rows()) for file in folder.glob("*/metrics.jsonl"))


def wait_until_gone(folder: Path) -> None:
    """Ray's processes die with the search, but not at the same moment."""
    while trial_processes(folder):
        time.sleep(0.1)


def trial_processes(folder: Path) -> list[int]:
    """Who holds the lock of a run in the sweep's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            held = entry.readlink()
            if held.name == "lock" and held.parent.parent == folder:
                found.append(int(entry.parent.parent.name))
    return found


def steps_again(sweep: Sweep, every: int) -> list[int]:
    """Of each interruption, the steps that were done a second time.

    ValueError if a step is missing or counted twice, or if one was lost that a checkpoint held.
    """
    again = []
    for trial in sweep.trials:
        rows = RunFolder(sweep.folder / trial.name).rows()
        steps = [row["step"] for row in rows if "train/loss" in row]
        if steps != list(range(1, trial.step + 1)):
            raise ValueError(
                f"trial {trial.name} was told {trial.step} steps, its rows are {steps}"
            )
        repeated = [int(row["again"]) for row in rows if "again" in row]
        if max(repeated, default=0) > every:
            raise ValueError(f"trial {trial.name} did {max(repeated)} steps again, {every} at most")
        if trial.steps_run != trial.step + sum(repeated):
            raise ValueError(f"trial {trial.name} counts {trial.steps_run} steps, not {repeated}")
        again += repeated
    return again


def faults(settings: SweepSettings, sweep: Sweep) -> list[str]:
    """What is not as it would be without a kill."""
    found = []
    states = [trial.state for trial in sweep.trials]
    if set(states) - {"finished", "stopped"}:
        found.append(f"trials ended as {states}")
    if len(sweep.search) != settings.trials or len(sweep.trials) != (settings.trials or 0) + 1:
        found.append(f"{len(sweep.trials)} trials, {len(sweep.search)} of the search")
    client = mlflow_client(f"sqlite:///{settings.storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(settings.tracking.experiment)
    runs = client.search_runs([experiment.experiment_id])
    names = sorted(run.info.run_name for run in runs)
    if names != sorted([settings.name, *(trial.name for trial in sweep.trials)]):
        found.append(f"MLflow has the runs {names}")
    if {run.info.status for run in runs} != {"FINISHED"}:
        found.append("MLflow has runs that are not finished")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--data", type=Path, help="a dataset folder, in place of phantoms")
    parser.add_argument("--quick", action="store_true", help="three kills of a shorter sweep")
    chosen = parser.parse_args(arguments)
    kills, trials, steps = (3, 3, 40) if chosen.quick else (chosen.kills, 12, 160)
    with tempfile.TemporaryDirectory(prefix="amir-kills-") as name:
        folder = Path(name)
        data = chosen.data.absolute() if chosen.data else phantom_dataset(folder)
        settings = sweep_of(data, folder, trials=trials, steps=steps)
        done = kill_at_random(settings, folder / "log", kills=kills)
        sweep = read_sweep(sweep_folder(settings))
        wrong = faults(settings, sweep)
        again = steps_again(sweep, EVERY)
    whole = sum(trial.step for trial in sweep.trials)
    print(
        f"{done['search']} kills of the search, {done['trial']} of a trial; {len(sweep.trials)} "
        f"trials, each ended once; {sum(again)} of {whole} steps done twice, at most "
        f"{max(again, default=0)} at a kill, where {EVERY} are allowed; wrong: "
        f"{'; '.join(wrong) or 'nothing'}"
    )
    print(json.dumps({**done, "steps": whole, "again": again, "wrong": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
