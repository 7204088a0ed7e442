"""How far an answer may be trusted: what is checked, flagged and refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from amir.config.section import PositiveFloat, Section

Answer = Literal["off", "flag", "refuse"]
Upsampling = Literal["none", 2, 3, 4]
Passes = Annotated[int, Field(ge=0, le=3)]


class TrustSettings(Section):
    """What happens to images that a network was not trained for."""

    outliers: Answer = "flag"
    """A scan unlike the training data: not looked for, reported, or refused."""
    outlier_bound: PositiveFloat = 2.0
    """Score from which a scan is an outlier; of held-out slices, one in twenty reaches 1."""
    empty: Literal["flag", "refuse"] = "refuse"
    """A scan that holds one value everywhere, or nothing but air: reported, or refused."""
    full_kspace: Answer = "flag"
    """An MR scan with more detail than the network was trained on: as for outliers."""
    above_range: Literal["keep", "restore"] = "restore"
    """PET and MR brighter than training: passed on, or restored from slices darkened to fit."""
