"""Fig. I a: how the targets of each modality distribute over the network's range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from amir import durable
from amir.dataset.manifest import Manifest
from amir.dataset.slices import SlicePair, spread_slices
from amir.modality import MODELLING_RANGES, Modality, normalise

SLICES = 64  # per task, spread over the training split
BINS = 128
COLOURS = {Modality.MRI: "#0072B2", Modality.CT: "#D55E00", Modality.PET: "#009E73"}

Shares = NDArray[np.float64]


def target_intensities(pairs: Sequence[SlicePair]) -> Shares:
    """Share of the pixels in each of BINS equal parts of 0..1: [BINS]; sums to one."""
    counts = np.zeros(BINS)
    for pair in pairs:
        image = normalise(pair.target * np.float32(pair.scale), pair.modality)
        counts += np.histogram(image, bins=BINS, range=(0, 1))[0]
    shares: Shares = counts / counts.sum()
    return shares


def intensities_of(folder: Path, manifest: Manifest) -> dict[Modality, Shares]:
    """Of the training targets, for each modality that has some."""
    return {
        task: target_intensities(spread_slices(folder, manifest, "train", task, SLICES))
        for task in Modality
        if manifest.slices("train", task)
    }


def draw_intensities(shares: Mapping[Modality, Shares], path: Path, *, title: str) -> Path:
    """A panel per modality, beside each other on one scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.9), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(1, len(shares), squeeze=False, sharex=True, sharey=True)[0]
    edges = np.linspace(0, 1, BINS + 1)
    for axis, (task, share) in zip(panels, shares.items(), strict=True):
        axis.stairs(share, edges, fill=True, color=COLOURS[task])
        axis.set_yscale("log")
        axis.set_title(str(task), fontsize=9)
        limits = MODELLING_RANGES[task]
        axis.set_xlabel(f"0..1 is {limits.lower:g}..{limits.upper:g} {limits.unit}", fontsize=8)
    panels[0].set_ylabel("share of the targets' pixels", fontsize=8)
    with durable.new_file(path) as beside:
        figure.savefig(beside, format="png", dpi=150)
    return path
