"""What was done to a scan: what a restored file says of itself and makes its identifiers from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Derivation:
    """model_digest: sha256 (hex) of weights and restoring settings. task: such as "ct-denoise".

    options: how the scan was restored, anything JSON knows. precision: such as "float32".
    """

    model_name: str
    model_version: str
    model_digest: str
    task: str
    options: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "float32"

    def digest_with(self, source_uid: str) -> bytes:
        """sha256 over a source's identifier and all that decides the result's voxels."""
        options = json.dumps(dict(self.options), sort_keys=True, separators=(",", ":"))
        parts = (source_uid, self.model_digest, self.task, options, self.precision)
        return hashlib.sha256("\n".join(parts).encode()).digest()
