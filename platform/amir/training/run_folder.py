"""STORAGE/RUN: what a run is called, what it was started with, where it stands; and who may go on
with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from amir import durable
from amir.command_line import read_yaml, validate
from amir.config import TrainSettings
from amir.errors import InputError

Status = Literal["running", "finished", "stopped", "failed"]
SECONDS_BETWEEN_TRIES = 0.2


@dataclass(frozen=True)
class RunFolder:
    """settings.yaml, state.json, metrics.jsonl, checkpoints/STEP/, mlflow_run_id, mlflow_sent."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def settings(self) -> Path:
        return self.path / "settings.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    def write_settings(self, settings: TrainSettings, dataset_digest: str) -> None:
        identity = _identity(settings, dataset_digest)
        durable.write_text(self.settings, yaml.safe_dump(identity, sort_keys=False))

    def state(self) -> dict[str, Any]:
        """What state.json says: the status, and what belongs to it; nothing before the start."""
        file = self.path / "state.json"
        state: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        return state

    def status(self) -> Status | None:
        return self.state().get("status")

    def set_status(self, status: Status, **facts: Any) -> None:
        durable.write_text(self.path / "state.json", json.dumps({"status": status, **facts}))

    def mlflow_run_id(self) -> str | None:
        file = self.path / "mlflow_run_id"
        return file.read_text().strip() or None if file.is_file() else None

    def set_mlflow_run_id(self, run_id: str) -> None:
        durable.write_text(self.path / "mlflow_run_id", run_id)

    def sent(self) -> int:
        """Bytes of metrics.jsonl that MLflow has taken."""
        file = self.path / "mlflow_sent"
        return int(file.read_text()) if file.is_file() else 0

    def set_sent(self, size: int) -> None:
        durable.write_text(self.path / "mlflow_sent", str(size))

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add lines to metrics.jsonl."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))

    def rows(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; one that is being written, or never will be, is left out."""
        if not self.metrics.is_file():
            return []
        whole = self.metrics.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in whole]

    def step(self) -> int:
        """The last step that metrics.jsonl tells of."""
        return max((row["step"] for row in self.rows()), default=0)

    def forget_after(self, step: int) -> int:
        """Drop metrics of steps that will be done again: the curve has each step once. Returns of
        how many steps.
        """
        rows = self.rows()
        kept = [row for row in rows if row["step"] <= step]
        if self.metrics.is_file():
            durable.write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in kept))
            self.set_sent(min(self.sent(), self.metrics.stat().st_size))
        return max((row["step"] for row in rows), default=0) - step if len(kept) < len(rows) else 0


def run_name(settings: TrainSettings, dataset_digest: str) -> str:
    """As given by --run, else 12 hex digits of the settings and the dataset."""
    if settings.run is not None:
        return settings.run
    canonical = json.dumps([settings.science(), dataset_digest], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


@contextmanager
def claim(
    settings: TrainSettings, dataset_digest: str, *, patience: float = 0
) -> Iterator[RunFolder]:
    """The folder of this run, new or unfinished, for this process alone.

    patience: seconds to wait for a process that holds it, such as one that was just killed.
    InputError("run_exists") if the run is finished, another's, or in other hands. A new folder in
    which nothing was written is removed again.
    """
    folder = _folder(settings, dataset_digest)
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = folder.path / "lock"
    refusal = (
        f"run {folder.name} is being trained by another process; wait for it, or choose another "
        "name with --run"
    )
    try:
        with held(lock, refusal=refusal, patience=patience):
            check_may_go_on(settings, dataset_digest)
            yield folder
    finally:
        if not folder.settings.is_file():
            lock.unlink(missing_ok=True)
            with suppress(OSError):
                folder.path.rmdir()


@contextmanager
def held(lock: Path, *, refusal: str, patience: float = 0) -> Iterator[None]:
    """Keep others out; the system lets them in when this process ends, however that happens.

    InputError("run_exists") with the refusal if somebody else still holds it after `patience`
    seconds.
    """
    deadline = time.monotonic() + patience
    with lock.open("w") as file:
        while not _is_locked(file.fileno()):
            if time.monotonic() > deadline:
                raise InputError("run_exists", refusal)
            time.sleep(SECONDS_BETWEEN_TRIES)
        yield


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _folder(settings: TrainSettings, dataset_digest: str) -> RunFolder:
    return RunFolder(settings.storage.absolute() / run_name(settings, dataset_digest))


def _identity(settings: TrainSettings, dataset_digest: str) -> dict[str, Any]:
    return {"dataset_digest": dataset_digest, **settings.science()}


def check_may_go_on(settings: TrainSettings, dataset_digest: str) -> None:
    """InputError("run_exists") if the run is finished, or was started with other settings."""
    folder = _folder(settings, dataset_digest)
    if not folder.settings.is_file():
        return
    difference = differences(_recorded(folder), _identity(settings, dataset_digest))
    if difference:
        raise InputError(
            "run_exists",
            f"run {folder.name} was started with other settings: {'; '.join(difference)}. Repeat "
            "those, or choose another name with --run",
        )
    if folder.status() == "finished":
        raise InputError(
            "run_exists",
            f"run {folder.name} is finished after {settings.steps} steps. Use it as --model "
            f"{folder.name}; train anew under another name with --run; or train longer with more "
            f"--steps, another --run and --init-from {folder.name}",
        )


def finished_run(settings: TrainSettings, dataset_digest: str) -> RunFolder | None:
    """The run of these settings if it is finished; None if it is yet to be trained, in part or
    whole. InputError("run_exists") if its name is taken by other settings.
    """
    folder = _folder(settings, dataset_digest)
    try:
        check_may_go_on(settings, dataset_digest)
    except InputError:
        same = not differences(_recorded(folder), _identity(settings, dataset_digest))
        if same and folder.status() == "finished":
            return folder
        raise
    return None


def _recorded(folder: RunFolder) -> dict[str, Any]:
    """What the run was started with; settings that are newer than the run have their defaults."""
    written = read_yaml(folder.settings)
    digest = {"dataset_digest": written.pop("dataset_digest", None)}
    try:
        known = {**written, "data": {**written.get("data", {}), "path": "elsewhere"}}
        return digest | validate(TrainSettings, known).science()
    except InputError:  # a setting that is no more: say so as it stands there
        return digest | written


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Where two trees of settings differ, each with its dotted name."""
    before, now = dict(_flat(theirs)), dict(_flat(ours))
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
