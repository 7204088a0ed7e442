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
    model_digest: str,
    options: Mapping[str, Any],
    precision: str = "float32",
) -> Derivation:
    """How a restored scan came about, for its header.

    options: all that beside the model decides its voxels.
    """
    return Derivation(
        model_name="AMIR",
        model_version=model_digest[:12],
        model_digest=model_digest,
        task=TASKS[modality],
        options=options,
        precision=precision,
    )
