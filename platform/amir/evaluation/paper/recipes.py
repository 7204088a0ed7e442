"""The settings of each row of the tables: its own file over what all rows share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amir.command_line import read_yaml, validate
from amir.config import PaperSettings, TrainSettings
from amir.models.registry import MODELS, build_model


@dataclass(frozen=True)
class Recipes:
    """folder: of RECIPE.yaml. miniature: the file that all of them are laid over if so set."""

    settings: PaperSettings
    folder: Path
    miniature: Path

    def of(self, name: str) -> TrainSettings:
        """Settings of this recipe's run, which is called after it, so that it is found again."""
        shared = read_yaml(self.miniature) if self.settings.miniature else {}
        kind = "miniature" if self.settings.miniature else "paper"
        return self._laid(shared, name, run=f"{kind}-{name}")

    def is_here(self, name: str) -> bool:
        """Whether the registry knows the recipe's network."""
        return self._laid({}, name).model.name in MODELS

    def size(self, name: str) -> int:
        """Parameters of the recipe's network in full, as it restores."""
        return parameters(self._laid({}, name))

    def _laid(self, below: Mapping[str, Any], name: str, run: str | None = None) -> TrainSettings:
        own = read_yaml(self.folder / f"{name}.yaml")
        place = {
            "data": {"path": self.settings.data},
            "storage": self.settings.storage,
            "run": run,
            "workers": self.settings.workers.model_dump(),
            "tracking": self.settings.tracking.model_dump(),
        }
        return validate(TrainSettings, _laid_over(_laid_over(below, own), place))


def parameters(settings: TrainSettings) -> int:
    """Of the network that these settings train, as it restores."""
    import torch

    with torch.device("meta"):
        network = build_model(settings.model.name, **settings.model.network())
    return sum(parameter.numel() for parameter in network.parameters())


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    laid = dict(below)
    for name, value in above.items():
        both = isinstance(value, Mapping) and isinstance(laid.get(name), Mapping)
        laid[name] = _laid_over(laid[name], value) if both else value
    return laid
