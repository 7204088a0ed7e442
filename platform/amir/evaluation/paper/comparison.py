"""Fig. II: every system on one slice of each task, in a fixed window, with inset and error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from amir import durable
from amir.dataset.slices import SlicePair
from amir.modality import SCORING_RANGES, Modality
from amir.panels import window

Image = NDArray[np.float32]
ZOOMED = 5  # the inset shows a box of 1/5 of the slice's shorter side
INSET = 0.45  # its width and height, of the panel's


class Box(NamedTuple):
    """A square of pixels."""

    top: int
    left: int
    side: int

    def of(self, image: Image) -> Image:
        cut: Image = image[self.top : self.top + self.side, self.left : self.left + self.side]
        return cut


@dataclass(frozen=True, eq=False)
class Comparison:
    """One slice. restored: system -> [H, W] in physical units, or why there is none."""

    pair: SlicePair
    restored: Mapping[str, Image | str]


def busiest_box(pair: SlicePair) -> Box:
    """Where the target varies most within its window: the same box for every system."""
    target = np.clip(pair.target, *window(pair)).astype(np.float64)
    side = max(8, min(target.shape) // ZOOMED)
    mean = uniform_filter(target, side)
    variance = uniform_filter(target**2, side) - mean**2
    half = side // 2
    inner = variance[half : target.shape[0] - half, half : target.shape[1] - half]
    top, left = np.unravel_index(int(inner.argmax()), inner.shape)
    return Box(int(top), int(left), side)


def inset_corner(box: Box, shape: tuple[int, ...]) -> tuple[float, float]:
    """Left and bottom of the inset, of the panel's: the corner that lies farthest from the box."""
    below = box.top + box.side / 2 > shape[0] / 2
    right = box.left + box.side / 2 > shape[1] / 2
    return 0.0 if right else 1 - INSET, 1 - INSET if below else 0.0


def draw_comparison(comparisons: Sequence[Comparison], path: Path, *, title: str) -> Path:
    """A PNG, two rows per task: images with their inset, and errors on one scale."""
    from matplotlib.figure import Figure

    systems = list(comparisons[0].restored)
    columns = len(systems) + 2
    figure = Figure(figsize=(1.75 * columns, 4.1 * len(comparisons) + 0.6), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(2 * len(comparisons), columns, squeeze=False)
    for axis in grid.flat:
        axis.set_axis_off()
    for number, comparison in enumerate(comparisons):
        _draw_slice(figure, grid[2 * number], grid[2 * number + 1], comparison)
    with durable.new_file(path) as beside:
        figure.savefig(beside, format="png", dpi=130)
    return path


def _draw_slice(figure: Any, images: Any, errors: Any, shown: Comparison) -> None:
    pair, box = shown.pair, busiest_box(shown.pair)
    # One scale for all errors of the slice: that of the degraded one.
    limit = float(np.percentile(np.abs(pair.degraded - pair.target), 99.5)) or 1.0
    drawn = None
    row = {"degraded": pair.degraded, **shown.restored, "target": pair.target}
    for axis, below, (name, image) in zip(images, errors, row.items(), strict=True):
        if isinstance(image, str):
            axis.set_title(name, fontsize=8)
            axis.text(0.5, 0.5, image, ha="center", va="center", fontsize=8, color="0.4")
            continue
        _draw_image(axis, image, pair, box)
        axis.set_title(_heading(name, image, pair), fontsize=8)
        if name != "target":
            drawn = _draw_error(below, image, pair, limit)
    unit = SCORING_RANGES[pair.modality].unit
    bar = figure.colorbar(drawn, ax=errors[-1], fraction=0.9, aspect=14, location="left")
    bar.set_label(f"error, {unit}", fontsize=7)
    bar.ax.tick_params(labelsize=7)


def _draw_image(axis: Any, image: Image, pair: SlicePair, box: Box) -> None:
    from matplotlib.patches import Rectangle

    lower, upper = window(pair)
    look = {"cmap": _colours(pair.modality), "vmin": lower, "vmax": upper, "aspect": _aspect(pair)}
    axis.imshow(image, **look)
    axis.add_patch(
        Rectangle((box.left, box.top), box.side, box.side, fill=False, edgecolor="#e69f00")
    )
    inset = axis.inset_axes((*inset_corner(box, image.shape), INSET, INSET))
    inset.imshow(box.of(image), **look)
    inset.set_xticks([])
    inset.set_yticks([])
    for edge in inset.spines.values():
        edge.set_edgecolor("#e69f00")


def _draw_error(axis: Any, image: Image, pair: SlicePair, limit: float) -> Any:
    error = image - pair.target
    return axis.imshow(error, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect=_aspect(pair))


def _heading(name: str, image: Image, pair: SlicePair) -> str:
    if name == "target":
        lower, upper = window(pair)
        return f"target\n{lower:.4g} to {upper:.4g} {SCORING_RANGES[pair.modality].unit}"
    score = pair.score(image)
    return f"{name}\n{score.psnr:.2f} dB, {score.ssim:.3f}"


def _colours(modality: Modality) -> str:
    return "gray_r" if modality is Modality.PET else "gray"


def _aspect(pair: SlicePair) -> float:
    return pair.spacing_mm[0] / pair.spacing_mm[1]
