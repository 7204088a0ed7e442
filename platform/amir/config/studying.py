"""A space trained in full once, and the ways of searching it compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from amir.config.section import Section
from amir.config.sweeping import SweepSettings


class StudySettings(SweepSettings):
    """tune/study.py: train settings of a sweep's space in full, then replay searches on them."""

    trials: Annotated[int, Field(ge=2)] = 48
    """Settings of the space that are trained; more of them later go on where the study ended."""
    replays: Annotated[int, Field(ge=1)] = 100
    """Searches of each kind that are replayed, each with a seed of its own."""
    budget: Annotated[float, Field(gt=0, le=1)] = 0.5
    """What a replayed search may spend, as a share of the steps of all settings in full."""


class SummarySettings(Section):
    """tune/summary.py: one page about a sweep."""

    sweep: str
    """Name of the sweep."""
    storage: Path = Path("storage")
    """Folder of sweeps and runs."""
