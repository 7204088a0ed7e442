"""Trainings of seconds on phantoms: their dataset, settings and Ray, and processes to kill."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch

from amir import checkpoint, cluster
from amir.command_line import set_dotted, validate
from amir.config import PrepareSettings, TrainSettings
from amir.dataset.prepare import prepare
from amir.modality import Modality
from amir.phantoms import write_phantom_cohort
from amir.training.run_folder import RunFolder
from benchmarks.measures import processes
from benchmarks.ray_service import ROOT, TINY

WORKER = "RayTrainWorker"  # in the title of its process


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for a row of faults, with a phantom dataset in it; one thread, nothing printed."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="amir-faults-") as name, redirect_stdout(io.StringIO()):
        phantom_dataset(Path(name) / "data")
        yield Path(name)


def phantom_dataset(out: Path) -> Path:
    """Of each modality two 48 x 48 subjects to train on, one to validate, one to test."""
    cohort = write_phantom_cohort(
        out.with_name(f"{out.name}-cohort"),
        subjects_per_modality={"train": 2, "validation": 1, "test": 1},
        size=48,
        slices={Modality.MRI: 10, Modality.CT: 4, Modality.PET: 24},
    )
    prepare(PrepareSettings(cohort=cohort, out=out), each=map)
    return out


def small_settings(folder: Path, run: str, **chosen: Any) -> TrainSettings:
    """A run below folder/storage on folder/data: some twenty steps a second, gate noise and all."""
    tree: dict[str, Any] = {
        "data": {"path": folder / "data", "crop": 16, "sampling": "uniform"},
        "storage": folder / "storage",
        "run": run,
        "batch": 6,
        "model": dict(TINY),
        "validation": {"every": 1000, "slices": 1},
        "outliers": {"slices": 0},
        "tracking": {"uri": "none"},
    }
    for name, value in chosen.items():
        set_dotted(tree, name, value)
    return validate(TrainSettings, tree)


def arguments(settings: TrainSettings) -> list[str]:
    """Those of jobs/train_all_in_one.py that say the same."""
    from amir.command_line import flatten

    def spelled(value: Any) -> str:
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)

    told = {n: v for n, v in flatten(settings).items() if v is not None and n != "dry_run"}
    return [f"--{name}={spelled(value)}" for name, value in told.items()]


def losses(folder: RunFolder) -> list[tuple[int, float]]:
    """(step, loss) as metrics.jsonl has them: each step once, in order, or the run is not well."""
    return [(row["step"], row["train/loss"]) for row in folder.rows() if "train/loss" in row]


def newest(folder: RunFolder) -> int:
    """The step of the newest checkpoint, 0 without one."""
    return max(checkpoint.saved_steps(folder.checkpoints), default=0)


def resumed(folder: RunFolder) -> list[dict[str, Any]]:
    """What the run says of each time it was taken up: step, train/workers, before, again."""
    return [row for row in folder.rows() if "again" in row]


@contextmanager
def small_ray() -> Iterator[None]:
    """A Ray of this process alone, with four CPUs as far as it knows."""
    prepare_environment()
    import ray

    sockets = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # their paths must be short
    start = partial(
        ray.init,
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=300_000_000,
        runtime_env=cluster.local_environment(),
        _temp_dir=sockets,
        logging_level="error",
        log_to_driver=False,
    )
    try:
        patiently(start, ray.shutdown)
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(sockets, ignore_errors=True)


def patiently(start: Callable[[], object], clear: Callable[[], object]) -> None:
    """Ray gives a node thirty seconds to start, which a busy machine may not have."""
    for _ in range(3):
        try:
            start()
            return
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            clear()
    start()


def prepare_environment() -> None:
    """For Ray in this process and for the jobs that it starts."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
    os.environ.pop("RAY_ADDRESS", None)
    for name, value in {**cluster.ENVIRONMENT, "OMP_NUM_THREADS": "1"}.items():
        os.environ.setdefault(name, value)


def titled(name: str) -> list[int]:
    """Processes below this one whose title holds a name."""
    return [pid for pid in processes() if name in title(pid)]


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
