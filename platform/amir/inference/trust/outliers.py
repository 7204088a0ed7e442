"""How unlike the training data a slice is, by statistics that are stored with the model.

Features of training slices (`trust.features`) give each task a mean and a covariance,
shrunk after Ledoit and Wolf (J Multivariate Analysis 88(2), 2004); slices of validation patients,
which neither were fitted to, say which Mahalanobis distances are usual. The score of a slice is its
distance over the one that 95 % of them keep below.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from amir.checkpoint import OUTLIERS, Checkpoint
from amir.errors import InputError
from amir.inference.trust.features import PLAIN, Features
from amir.modality import Modality

FORMAT = 1
USUAL = 0.95  # of the held-out slices lie closer than score 1
DIRECTIONS = 8  # of the instruction: those in which training slices differ most
FEWEST = 8  # slices of a task, below which a covariance means nothing
SMALLEST_SPREAD = 1e-3  # of a feature: quantities are shares of a range or decades


@dataclass(frozen=True, eq=False)
class TaskStatistics:
    """Where the training slices of a task lie. mean: [G]; whitening: [G, G]; distances: [n], of
    held-out slices, ascending.
    """

    mean: Features
    whitening: Features
    distances: Features

    def distance(self, reduced: Features) -> Features:
        """Mahalanobis distance of reduced features [n, G]: [n]."""
        distance: Features = np.linalg.norm((reduced - self.mean) @ self.whitening, axis=1)
        return distance

    def score(self, reduced: Features) -> Features:
        """The distance, one where `USUAL` of the held-out slices are closer: [n]."""
        score: Features = self.distance(reduced) / np.quantile(self.distances, USUAL)
        return score

    def share_closer(self, reduced: Features) -> Features:
        """The share of the held-out slices that lie closer: [n]."""
        closer = np.searchsorted(self.distances, self.distance(reduced))
        return np.asarray(closer / len(self.distances))


@dataclass(frozen=True, eq=False)
class OutlierStatistics:
    """Of every task a model was trained on. centre: [F] and reduction: [F, G] bring features to
    what is compared. facts: dataset digest, number of slices, factor of k-space.
    """

    centre: Features
    reduction: Features
    tasks: Mapping[Modality, TaskStatistics]
    facts: Mapping[str, Any]

    @property
    def kspace_factor(self) -> int:
        """By which the MR data of training was cropped in k-space; 1 if it was not."""
        return int(self.facts.get("kspace_factor", 1))

    @classmethod
    def fit(
        cls,
        training: Mapping[Modality, Features],
        held_out: Mapping[Modality, Features],
        facts: Mapping[str, Any],
        *,
        instruction_width: int = 0,
    ) -> OutlierStatistics:
        """From features [n, F] of training slices and of slices of other patients, per task.

        instruction_width: how many of the features, the last ones, are an instruction. Tasks with
        fewer than eight slices of either are left out.
        """
        usable = [
            task
            for task in training
            if min(len(training[task]), len(held_out.get(task, ()))) >= FEWEST
        ]
        if not usable:
            raise InputError(
                "invalid_dataset",
                f"no task has {FEWEST} training and {FEWEST} validation slices, too few to tell "
                "what is usual; prepare the dataset with more patients",
            )
        every = np.concatenate([training[task] for task in usable])
        centre, reduction = _reduction(every, instruction_width)
        tasks = {
            task: _fit_task(
                (training[task] - centre) @ reduction, (held_out[task] - centre) @ reduction
            )
            for task in usable
        }
        return cls(centre, reduction, tasks, dict(facts))

    def score(self, features: Features, modality: Modality) -> Features:
        """Outlier scores [n] of slices with features [n, F]; NaN for a task without statistics, and
        for slices that hold nothing but air, of which training has none.
        """
        if modality not in self.tasks:
            return np.full(len(features), np.nan)
        score = self.tasks[modality].score(self._reduced(features))
        return np.where(features[:, PLAIN.index("air")] < 1, score, np.nan)

    def share_closer(self, features: Features, modality: Modality) -> Features:
        """Of the held-out slices, the share that is more like the training data: [n], or NaN."""
        if modality not in self.tasks:
            return np.full(len(features), np.nan)
        return self.tasks[modality].share_closer(self._reduced(features))

    def _reduced(self, features: Features) -> Features:
        reduced: Features = (features - self.centre) @ self.reduction
        return reduced

    def save(self, path: Path) -> None:
        from safetensors.numpy import save_file

        tensors = {"centre": self.centre, "reduction": self.reduction}
        for task, statistics in self.tasks.items():
            tensors |= {f"{task}.{name}": getattr(statistics, name) for name in _STORED}
        contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        save_file(contiguous, path, {"format": str(FORMAT), "facts": json.dumps(dict(self.facts))})

    @classmethod
    def load(cls, path: Path) -> OutlierStatistics:
        """InputError("invalid_checkpoint") for a file that is none, or is newer than this code."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if int(metadata["format"]) > FORMAT:
                raise _unusable(path, f"has format {metadata['format']}; update the platform")
            named = {name.split(".")[0] for name in tensors if "." in name}
            tasks = {
                task: TaskStatistics(*(tensors[f"{task}.{name}"] for name in _STORED))
                for task in Modality
                if task in named
            }
            facts = json.loads(metadata["facts"])
            return cls(tensors["centre"], tensors["reduction"], tasks, facts)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise _unusable(path, f"cannot be read ({type(error).__name__})") from None


def stored_statistics(checkpoint: Checkpoint) -> OutlierStatistics | None:
    """Those of a model; None if nobody has measured them yet."""
    path = checkpoint.folder / OUTLIERS
    return OutlierStatistics.load(path) if path.is_file() else None


_STORED = ("mean", "whitening", "distances")


def _unusable(path: Path, reason: str) -> InputError:
    return InputError("invalid_checkpoint", f"{path.parent.name}/{path.name} {reason}")


def _reduction(features: Features, instruction_width: int) -> tuple[Features, Features]:
    """(centre [F], matrix [F, G]): features in units of their spread over all tasks; of an
    instruction, the directions of most variance in units of the first one's.
    """
    centre = features.mean(axis=0)
    named = features.shape[1] - instruction_width
    spread = np.maximum(features[:, :named].std(axis=0), SMALLEST_SPREAD)
    plain = np.zeros((len(centre), named))
    plain[:named] = np.diag(1 / spread)
    if not instruction_width:
        return centre, plain
    _, sizes, directions = np.linalg.svd((features - centre)[:, named:], full_matrices=False)
    largest = max(float(sizes[0] / np.sqrt(len(features))), SMALLEST_SPREAD)
    of_instruction = np.zeros((len(centre), len(directions[:DIRECTIONS])))
    of_instruction[named:] = directions[:DIRECTIONS].T / largest
    return centre, np.concatenate([plain, of_instruction], axis=1)


def _fit_task(training: Features, held_out: Features) -> TaskStatistics:
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(training)
    placed = TaskStatistics(
        fitted.location_, np.linalg.cholesky(fitted.precision_), distances=np.zeros(1)
    )
    return replace(placed, distances=np.sort(placed.distance(held_out)))
