"""What a request may ask for: the query of POST /v1/restore and of POST /v1/jobs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from amir.config import Section
from amir.modality import Modality


class RestoreOptions(Section):
    """All that beside the file decides the answer."""

    modality: Modality | None = None
    """Needed where the file does not say it (.npy, and NIfTI always); checked against DICOM."""
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,64}$")] = ""
    """An alias of GET /v1/models, or at least 12 hex digits of a digest; empty: the default."""
    uncertainty: Annotated[int, Field(ge=0, le=3)] = 0
    """Further passes over mirrored slices; their spread is summarised in the report."""
    upsample: Literal["none", "2", "3", "4"] = "none"
    """MR of a small matrix: fill k-space with zeros to a matrix this many times as large."""
    choose: Annotated[str, Field(pattern=r"^[A-Za-z0-9._=, -]{0,200}$")] = ""
    """Of several series, or of several volumes of one: what the refusal listed, such as
    3fa2b1c4d5e6, echo=80, or both with a comma between."""

    @property
    def upsampling(self) -> int:
        return 1 if self.upsample == "none" else int(self.upsample)
