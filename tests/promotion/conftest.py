"""Models whose order of merit is known: the further from the identity, the worse they restore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amir.checkpoint import Checkpoint
from amir.config import PromoteSettings
from amir.model_registry.versions import ModelRegistry
from benchmarks.known_models import LENIENT, enthrone, save_off_by


@pytest.fixture
def off_by(tiny_dataset: Path, tmp_path: Path) -> Callable[[float], Checkpoint]:
    """A checkpoint that adds an error of so many times a fixed one to every slice."""

    def make(error: float) -> Checkpoint:
        return save_off_by(error, tmp_path / f"off-by-{error:g}", tiny_dataset)

    return make


@pytest.fixture
def asked(tiny_dataset: Path, tmp_path: Path) -> Callable[..., PromoteSettings]:
    """Settings to promote a model on the phantoms."""

    def settings(model: Checkpoint, **further: Any) -> PromoteSettings:
        return PromoteSettings.model_validate(
            {
                "model": str(model.folder),
                "data": tiny_dataset,
                "storage": tmp_path / "storage",
                "gate": LENIENT,
                **further,
            }
        )

    return settings


@pytest.fixture(name="enthrone")
def enthroned() -> Callable[[ModelRegistry, Checkpoint, str], int]:
    """Makes a model champion without asking the gate; the number of its version."""
    return enthrone
