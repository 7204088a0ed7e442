"""The three scanners: their physical ranges, units and planes, and the way to 0..1 and back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeVar

Plane = Literal["axial", "coronal", "sagittal"]
Image = TypeVar("Image", bound=Any)  # a NumPy array or a torch tensor: both know clip, + and *


class Modality(StrEnum):
    """Which scanner a scan comes from; the value is its spelling in files, tables and metrics."""

    MRI = "MRI"
    CT = "CT"
    PET = "PET"


@dataclass(frozen=True)
class IntensityRange:
    """A closed interval of physical intensities."""

    lower: float
    upper: float
    unit: str

    @property
    def span(self) -> float:
        return self.upper - self.lower

    def clip(self, image: Image) -> Image:
        """A copy of the image, limited to the range."""
        clipped: Image = image.clip(self.lower, self.upper)
        return clipped

    def normalise(self, image: Image) -> Image:
        """Physical units to 0..1; values outside the range are clipped."""
        normalised: Image = (self.clip(image) - self.lower) / self.span
        return normalised

    def denormalise(self, image: Image) -> Image:
        """0..1 to physical units; values outside 0..1 are clipped to the range."""
        physical: Image = self.clip(image * self.span + self.lower)
        return physical


# Paper, section 3.1, and the published code: 3071 HU, not the 3072 of the authors' later
# repositories.
MODELLING_RANGES = {
    Modality.MRI: IntensityRange(0.0, 4095.0, "a.u."),
    Modality.CT: IntensityRange(-1024.0, 3071.0, "HU"),
    Modality.PET: IntensityRange(0.0, 20.0, "SUV"),
}

# CT is scored in the abdominal soft tissue window, as the published test script does.
SCORING_RANGES = {
    **MODELLING_RANGES,
    Modality.CT: IntensityRange(-160.0, 240.0, "HU"),
}

# PET is cut coronally: the paper's slices are 192 x 400 of a 192 x 192 x 400 volume.
TRAINING_PLANES: dict[Modality, Plane] = {
    Modality.MRI: "axial",
    Modality.CT: "axial",
    Modality.PET: "coronal",
}


def normalise(image: Image, modality: Modality) -> Image:
    """Physical units (a.u., HU, SUV) to the network's 0..1, clipped to the modelling range."""
    return MODELLING_RANGES[modality].normalise(image)


def denormalise(image: Image, modality: Modality) -> Image:
    """The network's 0..1 to physical units (a.u., HU, SUV), clipped to the modelling range."""
    return MODELLING_RANGES[modality].denormalise(image)
