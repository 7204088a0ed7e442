"""What every section of settings has in common, and the bounds they share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PositiveFloat = Annotated[float, Field(gt=0)]

Fraction = Annotated[float, Field(ge=0, le=1)]

Kernels = Literal["eager", "triton"]

Decay = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Settings never change once made, and a name that is not here is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )
