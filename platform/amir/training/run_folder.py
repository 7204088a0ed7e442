"""STORAGE/RUN: what a run is called, what it was started with, where it stands; and who may go on
with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from amir import durable
from amir.command_line import read_yaml
from amir.config import TrainSettings
from amir.errors import InputError

Status = Literal["running", "finished", "failed"]


@dataclass(frozen=True)
class RunFolder:
    """settings.yaml, state.json, metrics.jsonl, checkpoints/STEP/, mlflow_run_id."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    def status(self) -> Status | None:
        file = self.path / "state.json"
        status: Status | None = json.loads(file.read_text())["status"] if file.is_file() else None
        return status

    def set_status(self, status: Status, **facts: Any) -> None:
        durable.write_text(self.path / "state.json", json.dumps({"status": status, **facts}))

    def mlflow_run_id(self) -> str | None:
        file = self.path / "mlflow_run_id"
        return file.read_text().strip() or None if file.is_file() else None

    def set_mlflow_run_id(self, run_id: str) -> None:
        durable.write_text(self.path / "mlflow_run_id", run_id)

    def append(self, records: list[Mapping[str, Any]]) -> None:
        """Add lines to metrics.jsonl."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(record) + "\n" for record in records))

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that will be done again, so that a resumed run's curve has each
        step once.
        """
        if not self.metrics.is_file():
            return
        kept = [
            line
            for line in self.metrics.read_text().splitlines()
            if json.loads(line)["step"] <= step
        ]
        durable.write_text(self.metrics, "".join(line + "\n" for line in kept))


def run_name(settings: TrainSettings, dataset_digest: str) -> str:
    """As given by --run, else 12 hex digits of the settings and the dataset."""
    if settings.run is not None:
        return settings.run
    canonical = json.dumps([settings.science(), dataset_digest], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def claim(settings: TrainSettings, dataset_digest: str) -> RunFolder:
    """The folder of this run, new or unfinished; InputError("run_exists") if it is finished or
    another's.
    """
    folder = RunFolder(settings.storage.absolute() / run_name(settings, dataset_digest))
    ours = {"dataset_digest": dataset_digest, **settings.science()}
    started = folder.path / "settings.yaml"
    if not started.is_file():
        durable.write_text(started, yaml.safe_dump(ours, sort_keys=False))
        return folder
    difference = _difference(read_yaml(started), ours)
    if difference:
        raise InputError(
            "run_exists",
            f"run {folder.name} was started with other settings: {'; '.join(difference)}. Repeat those, "
            "or choose another name with --run",
        )
    if folder.status() == "finished":
        raise InputError(
            "run_exists",
            f"run {folder.name} is finished after {settings.steps} steps. Use it as --model "
            f"{folder.name}, train it anew under another name with --run, or longer with --steps",
        )
    return folder


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    before, now = dict(_flat(theirs)), dict(_flat(ours))
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat
