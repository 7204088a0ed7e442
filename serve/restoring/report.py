"""What the service says of a restoration, as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from amir.modality import Modality

RESEARCH_USE = "research use only, not for diagnosis"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ReportModel(_Part):
    """The model that restored the scan, the same for every slice."""

    digest: str
    """sha256 of weights and restoring settings, in hexadecimal digits."""
    alias: str
    reference: str
    version: str
    """Number in the registry; empty outside of one."""
    network: str
    precision: str


class ReportFlag(_Part):
    """A doubt about the scan."""

    code: str
    message: str


class ReportUncertainty(_Part):
    """Standard deviation over the passes, in voxels that are not air."""

    passes: int
    unit: str
    mean: float
    median: float
    percentile_95: float
    maximum: float
    per_change: float
    """The mean over the mean change that the restoration made."""


class Report(_Part):
    """One restored upload."""

    task: str
    """mri-sr, ct-denoise or pet-synthesis."""
    modality: Modality
    unit: str
    """Of intensities: HU, SUV or a.u."""
    model: ReportModel
    input_digest: str
    """sha256 of the body, in hexadecimal digits."""
    slices: tuple[int, int, int]
    """Restored slices: how many, height, width."""
    intensity_scale: float
    """Factor from the scan's numbers to the network's range; 1 for CT and PET."""
    upsample: str
    clipped_voxels: int
    """Outside the range of training."""
    above_range: Literal["keep", "restore"] = "keep"
    """What was done with voxels of PET and MR above the range; those of CT are always kept."""
    saturated_voxels: int
    """That the file's number type could not hold."""
    largest_batch: int
    """Slices of the largest batch that one of these was restored in, other requests' included."""
    expert_use: dict[str, tuple[float, ...]]
    """By level, the mean share of the pixels that each expert saw; empty without routing."""
    outlier_score: float | None
    """Median over the slices; null where the model stores no statistics of its training."""
    flags: tuple[ReportFlag, ...]
    uncertainty: ReportUncertainty | None
    seconds: dict[str, float] = Field(default_factory=dict)
    """By stage: receive, read, restore, write; waiting and forward are within restore."""
    label: str = RESEARCH_USE
