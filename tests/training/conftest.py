"""What the training tests share: a run as a worker makes it, in this process and without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from amir.config import TrainSettings
from amir.dataset.manifest import read_manifest
from amir.dataset.plan import Plan
from amir.dataset.reader import Batch, Reader, build_index
from amir.dataset.slices import SlicePair, spread_slices
from amir.inference.restorer import Restorer
from amir.modality import Modality
from amir.training.initial import initial_model
from amir.training.loop import train
from amir.training.observer import RunObserver
from amir.training.phases import phases
from amir.training.run_folder import RunFolder
from amir.training.saving import save_checkpoint, take_up
from amir.training.state import training_state
from amir.training.validation import Scores, validate


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Threads that wait for each other cost more than they bring on tensors as small as these.

    OMP_NUM_THREADS comes too late where this folder is named to pytest: torch is imported above.
    """
    torch.set_num_threads(1)


class LocalRun:
    """One worker's part of a run, from the newest checkpoint of its folder on."""

    def __init__(self, settings: TrainSettings, pairs: list[SlicePair]) -> None:
        self.settings, self.pairs = settings, pairs
        self.folder = RunFolder(settings.storage / str(settings.run))
        self.folder.path.mkdir(parents=True, exist_ok=True)
        model = initial_model(settings)
        self.state = training_state(settings, model, model)
        take_up(self.state, self.folder, rank=0, workers=1)

    def reader(self, crop: int) -> Reader:
        data = self.settings.data
        index = build_index(read_manifest(data.path), "train", data.tasks)
        plan = Plan(index, self.settings.seed, self.settings.batch, data.sampling)
        return Reader(data.path, plan, crop=crop)

    def batches(self) -> Iterable[Batch]:
        for crop, first, stop in phases(self.settings, self.state.step):
            yield from self.reader(crop).batches(first, stop)

    def train(self, batches: Iterable[Batch] | None = None) -> LocalRun:
        restorer = Restorer(self.state.kept)
        train(
            self.state,
            self.batches() if batches is None else batches,
            self.settings,
            device=torch.device("cpu"),
            rank=0,
            validate=lambda: validate(restorer, self.pairs),
            save=self.save,
            names=self.reader(self.settings.data.crop).names,
            observer=RunObserver(self.folder, batch=self.settings.batch),
        )
        return self

    def save(self, scores: Scores) -> None:
        save_checkpoint(
            self.state,
            self.folder,
            settings=self.settings_of_checkpoint(),
            scores=scores,
            workers=1,
            keep=self.settings.checkpoints.keep,
        )

    def settings_of_checkpoint(self) -> dict[str, Any]:
        from amir import checkpoint
        from amir.config import IntensityScale

        return checkpoint.describe(
            "amir",
            self.settings.model.model_dump(mode="json", exclude={"name"}),
            intensity=IntensityScale(),
            dataset_digest="ab" * 32,
            code_version="test",
            step=self.state.step,
        )

    def losses(self) -> dict[int, float]:
        rows = [row for row in self.folder.rows() if "train/loss" in row]
        assert len({row["step"] for row in rows}) == len(rows)
        return {row["step"]: row["train/loss"] for row in rows}


@pytest.fixture(scope="session")
def validation_pairs(tiny_dataset: Path) -> list[SlicePair]:
    """Two validation slices of each modality."""
    manifest = read_manifest(tiny_dataset)
    return [
        pair
        for task in Modality
        for pair in spread_slices(tiny_dataset, manifest, "validation", task, 2)
    ]


@pytest.fixture
def local_run(validation_pairs: list[SlicePair]) -> Callable[[TrainSettings], LocalRun]:
    """local_run(settings): ready to train, resumed if its folder holds a checkpoint."""
    return lambda settings: LocalRun(settings, validation_pairs)
