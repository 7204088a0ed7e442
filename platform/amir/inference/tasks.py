"""What restoring a scan of each modality is called, and what a restored file says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amir.imaging import Derivation
from amir.modality import Modality

TASKS = {Modality.MRI: "mri-sr", Modality.CT: "ct-denoise", Modality.PET: "pet-synthesis"}


def derivation(
    modality: Modality,
    *,
    network: str,
    version: str,
    model_digest: str,
    options: Mapping[str, Any],
    precision: str = "float32",
) -> Derivation:
    """How a restored scan came about, for its header.

    network: its name in `amir.models.registry`. version: the model's number in the registry, "" if
    it is not registered. options: all that beside the model decides its voxels.
    """
    return Derivation(
        model_name=network,
        model_version=version or "unregistered",
        model_digest=model_digest,
        task=TASKS[modality],
        options=options,
        precision=precision,
    )
