"""Models whose order of merit is known: the further from the identity, the worse they restore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amir import checkpoint
from amir.checkpoint import Checkpoint
from amir.config import IntensityScale, PromoteSettings
from amir.dataset.manifest import read_manifest
from amir.model_registry.versions import CHAMPION, DIGEST, VERDICT, ModelRegistry

# The phantoms' test split has one patient per task, and nobody trained these networks.
LENIENT = {
    "accept_few_patients": True,
    "ct_shift_hu": 1e3,
    "pet_activity": 10.0,
    "concordance": -1.0,
}


@pytest.fixture
def off_by(
    tiny_dataset: Path, tiny_network: dict[str, Any], tmp_path: Path
) -> Callable[[float], Checkpoint]:
    """A checkpoint that adds an error of so many times a fixed one to every slice."""

    def make(error: float) -> Checkpoint:
        import torch

        from amir.models.registry import build_model

        torch.manual_seed(0)
        network = build_model("amir", **tiny_network)
        with torch.no_grad():
            network.output.weight.mul_(error)  # type: ignore[union-attr, operator]
        settings = checkpoint.describe(
            "amir",
            tiny_network,
            intensity=IntensityScale(),
            dataset_digest=read_manifest(tiny_dataset).dataset_digest,
            code_version="test",
            step=1,
        )
        folder = tmp_path / f"off-by-{error:g}"
        return checkpoint.save(folder, weights=network.state_dict(), settings=settings, scores={})

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


@pytest.fixture
def enthrone() -> Callable[[ModelRegistry, Checkpoint, str], int]:
    """Makes a model champion without asking the gate; the number of its version."""

    def point(registry: ModelRegistry, model: Checkpoint, run_id: str) -> int:
        tags = {DIGEST: model.digest, VERDICT: "accepted"}
        version = registry.register(model.folder, run_id=run_id, tags=tags)
        registry.point(CHAMPION, version)
        return version.number

    return point
