"""How degraded scans are simulated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from amir.config.section import PositiveFloat, Section
from amir.modality import Modality

AxisFactor = Annotated[int, Field(ge=1, le=8)]


class MRIDegradation(Section):
    factor: Annotated[int, Field(ge=2, le=8)] | tuple[AxisFactor, AxisFactor] = 4
    """Keep the central 1/factor of k-space (paper: 4, keeps 6.25 %); 1,4: of rows, of columns."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of Rician noise as a fraction of the scan's maximum."""

    @field_validator("factor", mode="before")
    @classmethod
    def _reads_two_numbers(cls, value: object) -> object:
        if isinstance(value, str) and "," in value:
            return value.strip("[]()").split(",")
        return value


class CTDegradation(Section):
    dose: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Fraction of the scan's photons that the degraded scan keeps."""
    photons: PositiveFloat | None = None
    """Incident photons per ray of the scan itself; null estimates them from its noise."""
    electronic: Annotated[float, Field(ge=0, lt=0.01)] = 5e-6
    """Standard deviation of the detector's own noise as a share of the incident photons."""
    geometry: Literal["parallel", "fan"] = "parallel"
    """Rays in parallel over half a turn, or in a fan from a source over a full turn."""
    source_to_isocentre_mm: PositiveFloat = 541.0
    """Radius of the fan's source; the slice's middle is the isocentre."""
    views: Annotated[int, Field(ge=180, le=4608, multiple_of=4)] = 720
    """Views over the turn; with fewer than 720 a full-size slice shows their spokes."""


class PETDegradation(Section):
    dose_reduction: Annotated[float, Field(gt=1)] = 12.0
    """Events are thinned by this factor (paper: 12)."""
    full_counts: PositiveFloat | None = None
    """Expected coincidences per axial slice at full dose; null takes the default."""
    attenuation: Literal["none", "water"] = "none"
    """none: folded into the counts; water: of a body of water, found by threshold."""
    background: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Scatter and randoms as a share of all coincidences, on top of full_counts."""
    views: Annotated[int, Field(ge=60, le=720)] = 180
    """Views over half a turn."""
    iterations: Annotated[int, Field(ge=1, le=50)] = 4
    """OSEM iterations of both reconstructions."""
    subsets: Annotated[int, Field(ge=1, le=60)] = 12
    """OSEM subsets of both reconstructions."""
    post_filter_mm: Annotated[float, Field(ge=0)] | None = None
    """Full width at half maximum of the Gaussian after OSEM, mm; null takes the default."""
    target: Literal["reconstruction", "source"] = "reconstruction"
    """The target is OSEM of the counts before thinning, or the scan as it came."""


class Degradations(Section):
    mri: MRIDegradation = MRIDegradation()
    ct: CTDegradation = CTDegradation()
    pet: PETDegradation = PETDegradation()

    def options(self, modality: Modality) -> dict[str, object]:
        """Keyword options for the modality's degradation; settings left null are left out."""
        section: Section = getattr(self, modality.value.lower())
        return section.model_dump(exclude_none=True)
