"""F12: the disk that holds the runs is full, on a tmpfs of a megabyte or less."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amir import checkpoint
from amir.config import PrepareSettings
from amir.dataset.prepare import prepare
from amir.errors import InputError
from amir.training.alone import train_alone
from amir.training.run_folder import RunFolder
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.small_training import losses, small_settings, workplace

TARGET = "an error that says so, nothing half-written in sight; with room again the run goes on"
KILOBYTES = (64, 160, 400, 700, 1000, 1300)


def run(*, quick: bool) -> Outcome:
    """quick: a third of the sizes. Only root may mount a tmpfs."""
    counted = {"training": 0, "preparing": 0}
    wrong: list[str] = []
    sizes = KILOBYTES[::3] if quick else KILOBYTES
    with workplace() as place:
        whole = losses(train_alone(small_settings(place, "whole", **CHOSEN)))
        for size in sizes:
            with small_disk(place / "disk", size) as disk:
                wrong += [f"{size} kB: {fault}" for fault in trained(place, disk, whole, counted)]
            with small_disk(place / "disk", size) as disk:
                wrong += [f"{size} kB: {fault}" for fault in prepared(place, disk, counted)]
    figure = (
        f"disks of {', '.join(map(str, sizes))} kB: full {counted['training']} times in "
        f"training and {counted['preparing']} times in preparing; wrong: "
        f"{'; '.join(wrong) or 'none'}"
    )
    return Outcome(not wrong and all(counted.values()), figure)


CHOSEN = {"steps": 30, "checkpoints.every": 3, "checkpoints.keep": 3}


def trained(
    place: Path, disk: Path, whole: list[tuple[int, float]], counted: dict[str, int]
) -> list[str]:
    """Train until the disk is full, then with room."""
    settings = small_settings(place, "run", storage=disk, **CHOSEN)
    folder = RunFolder(disk / "run")
    try:
        train_alone(settings)
    except InputError as error:
        counted["training"] += 1
        found = [] if error.code == "disk_full" else [f"training: {error.code}: {error}"]
    except OSError as error:
        counted["training"] += 1
        found = [] if error.errno == 28 else [f"training: {error}"]
    else:
        return []
    found += [f"half-written {path.name}" for path in disk.rglob("*.partial*")]
    found += [
        f"checkpoint {step} is damaged"
        for step in checkpoint.saved_steps(folder.checkpoints)
        if not _is_sound(folder.checkpoints / str(step))
    ]
    _resize(disk, 8000)
    train_alone(settings)
    return found if losses(folder) == whole else [*found, "another curve with room again"]


def prepared(place: Path, disk: Path, counted: dict[str, int]) -> list[str]:
    settings = PrepareSettings(cohort=place / "data-cohort" / "cohort.csv", out=disk / "data")
    try:
        prepare(settings, each=map)
    except InputError as error:
        counted["preparing"] += 1
        found = [] if error.code == "disk_full" else [f"preparing: {error.code}: {error}"]
        return [*found, *(["a dataset in sight"] if settings.out.exists() else [])]
    return []


def _is_sound(folder: Path) -> bool:
    try:
        checkpoint.load(folder)
    except InputError:
        return False
    return True


@contextmanager
def small_disk(disk: Path, kilobytes: int) -> Iterator[Path]:
    disk.mkdir(exist_ok=True)
    size = f"size={kilobytes}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)
