"""Pictures that people look at first: degraded, restored, target and error side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amir import durable
from amir.dataset.slices import SlicePair
from amir.metrics import Score
from amir.modality import SCORING_RANGES, Modality

Image = NDArray[np.float32]


class Panel(NamedTuple):
    """One row of the picture. restored: [H, W] in the pair's physical units."""

    pair: SlicePair
    restored: Image


def draw_panels(panels: Sequence[Panel], path: Path, *, title: str) -> Path:
    """A PNG, a row per panel: degraded, restored, target, and error (restored - target)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.9 * len(panels) + 0.5), layout="constrained")
    figure.suptitle(f"{title} (research use only)", fontsize=11)
    grid = figure.subplots(len(panels), 4, squeeze=False)
    for axes, panel in zip(grid, panels, strict=True):
        _draw_row(figure, axes, panel)
    with durable.new_file(path) as beside:
        figure.savefig(beside, format="png", dpi=110)
    return path


def _draw_row(figure: Any, axes: Sequence[Any], panel: Panel) -> None:
    pair, restored = panel
    lower, upper = window(pair)
    shown = {
        "degraded": (pair.degraded, _caption(pair.score(pair.degraded))),
        "restored": (restored, _caption(pair.score(restored))),
        "target": (pair.target, f"{lower:.4g} to {upper:.4g} {_unit(pair.modality)}"),
    }
    aspect = pair.spacing_mm[0] / pair.spacing_mm[1]
    colours = "gray_r" if pair.modality is Modality.PET else "gray"
    for axis, (name, (image, caption)) in zip(axes, shown.items(), strict=False):
        axis.imshow(image, cmap=colours, vmin=lower, vmax=upper, aspect=aspect)
        _label(axis, f"{pair.modality} {name}", caption)
    # One scale for the errors before and after, so that the picture shows what was gained.
    limit = float(np.percentile(np.abs(pair.degraded - pair.target), 99.5)) or 1.0
    error = restored - pair.target
    drawn = axes[3].imshow(error, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect=aspect)
    figure.colorbar(drawn, ax=axes[3], fraction=0.05, pad=0.02).ax.tick_params(labelsize=7)
    _label(axes[3], "error", f"restored - target, {_unit(pair.modality)}")


def _caption(score: Score) -> str:
    return f"PSNR {score.psnr:.2f} dB, SSIM {score.ssim:.3f}"


def _unit(modality: Modality) -> str:
    return SCORING_RANGES[modality].unit


def _label(axis: Any, name: str, caption: str) -> None:
    axis.set_title(name, fontsize=9)
    axis.set_xlabel(caption, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


def window(pair: SlicePair) -> tuple[float, float]:
    """CT: the soft tissue window it is scored in; MR and PET: up to what the slice holds."""
    limits = SCORING_RANGES[pair.modality]
    if pair.modality is Modality.CT:
        return limits.lower, limits.upper
    top = float(np.percentile(pair.target, 99.8))
    return 0.0, top if top > 0 else 1.0
