"""Scanner files to a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from amir.config.degradations import Degradations
from amir.config.section import Fraction, Section


class IntensityScale(Section):
    """MR has no physical unit: how a scan's numbers are brought onto the network's 0..4095."""

    scale: Literal["fixed", "percentile"] = "percentile"
    """fixed: use the numbers as they are, as the paper does on IXI; percentile: scale each scan."""
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.9
    """This percentile of the degraded scan's foreground is brought to the set point."""
    set_point: Annotated[float, Field(gt=0, le=4095)] = 1500.0
    """Where the percentile lands, in the paper's 0..4095."""


class SplitFractions(Section):
    train: Fraction = 0.8
    """Share of the patients whose split the cohort leaves open."""
    validation: Fraction = 0.1
    """Likewise for validation; the rest is the test split."""

    @model_validator(mode="after")
    def _leaves_no_more_than_everything(self) -> SplitFractions:
        if self.train + self.validation > 1:
            raise ValueError(f"train + validation is {self.train + self.validation:g}, more than 1")
        return self


class ImportSettings(Section):
    """jobs/import_cohort.py: a collection's folder to a cohort file."""

    layout: Literal["ixi", "mayo", "bids", "published"]
    """Whose folder it is: IXI, AAPM-Mayo low-dose CT, any BIDS folder, AMIR's authors' release."""
    root: Path
    """The collection's top folder."""
    out: Path = Path("cohort.csv")
    """Cohort file to write."""
    series: str | None = None
    """mayo: which reconstruction, such as 3mm or 1mm_sharp; null where there is one only."""
    degraded: str | None = None
    """bids: the entity that marks degraded scans, such as acq-lowdose; null: simulate all."""


class PrepareSettings(Section):
    """jobs/prepare_dataset.py: scanner files to shards."""

    cohort: Path | None = None
    """CSV with patient_id, modality, target, degraded, split; see docs/datasets.md."""
    out: Path
    """Dataset folder to write."""
    seed: int = 0
    """Draws the open splits and all simulated noise."""
    splits: SplitFractions = SplitFractions()
    intensity: IntensityScale = IntensityScale()
    degradation: Degradations = Degradations()
    bad_scans: Literal["stop", "skip"] = "stop"
    """A scan that cannot be used stops the job, or is left out and listed in the manifest."""
    central_slices: Annotated[int, Field(ge=1)] | None = None
    """Keep only this many slices from the middle of each MR scan (paper: 100 of IXI's volumes)."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """Scans prepared at a time; null uses every CPU of the cluster."""
    verify: bool = False
    """Make nothing: compare a finished dataset's files with their digests."""
    preview: bool = False
    """Write preview.html into the dataset folder: a page to look at what was made."""

    @model_validator(mode="after")
    def _cohort_unless_finished(self) -> PrepareSettings:
        if self.cohort is None and not (self.verify or self.preview):
            raise ValueError("cohort is needed: give --cohort")
        return self
