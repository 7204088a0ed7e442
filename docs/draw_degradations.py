"""The pictures of docs/degradations.md, from phantoms: python docs/draw_degradations.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from amir.degradations.by_modality import DEGRADATIONS
from amir.degradations.outcome import Degraded
from amir.imaging import to_plane
from amir.modality import Modality
from amir.phantoms import phantom_scan

SUBJECT = 3
NEIGHBOURS = 3  # slices on either side, for the post-filter of PET
# Name of a column and the settings it shows, the defaults first.
SHOWN: dict[Modality, dict[str, dict[str, Any]]] = {
    Modality.MRI: {
        "factor 4": {},
        "factor 2": {"factor": 2},
        "factor 1,4": {"factor": (1, 4)},
        "factor 4, noise 0.1": {"noise": 0.1},
    },
    Modality.CT: {
        "dose 0.25": {},
        "dose 0.5": {"dose": 0.5},
        "dose 0.1": {"dose": 0.1},
        "dose 0.1, fan": {"dose": 0.1, "geometry": "fan"},
    },
    Modality.PET: {
        "a twelfth": {},
        "a fourth": {"dose_reduction": 4},
        "a twelfth, attenuated": {"attenuation": "water"},
        "and 40 % background": {"attenuation": "water", "background": 0.4},
    },
}
WINDOWS = {Modality.MRI: (0, 1800), Modality.CT: (-160, 240), Modality.PET: (0, 6)}
TARGETS = {Modality.PET: "target: full counts"}


def main() -> None:
    for modality, columns in SHOWN.items():
        outcomes = {name: degraded_slices(modality, options) for name, options in columns.items()}
        path = Path(__file__).with_name(f"degradations-{modality.lower()}.png")
        draw(modality, outcomes, path)
        print(path)  # noqa: T201


def degraded_slices(modality: Modality, options: Mapping[str, Any]) -> Degraded:
    """The middle of a phantom, degraded; the same noise whatever the options."""
    stack = to_plane(phantom_scan(modality, SUBJECT), "axial")
    middle = len(stack.slices) // 2
    part = stack.slices[middle - NEIGHBOURS : middle + NEIGHBOURS + 1]
    return DEGRADATIONS[modality](
        part, spacing_mm=stack.spacing_mm, seeds=range(len(part)), **options
    )


def draw(modality: Modality, outcomes: Mapping[str, Degraded], path: Path) -> None:
    """The target and each degraded slice; below, what is wrong with it, on one scale."""
    figure = Figure(figsize=(11, 4.7), layout="constrained")
    axes = figure.subplots(2, 1 + len(outcomes), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    lower, upper = WINDOWS[modality]
    look = {"cmap": "gray_r" if modality is Modality.PET else "gray", "vmin": lower, "vmax": upper}
    first = next(iter(outcomes.values()))
    axes[0, 0].imshow(first.target[NEIGHBOURS], **look)
    axes[0, 0].set_title(TARGETS.get(modality, "target"), fontsize=9)
    for column, (name, outcome) in enumerate(outcomes.items(), start=1):
        error = (outcome.degraded - outcome.target)[NEIGHBOURS]
        limit = (upper - lower) / 4
        axes[0, column].imshow(outcome.degraded[NEIGHBOURS], **look)
        axes[0, column].set_title(name, fontsize=9)
        axes[1, column].imshow(error, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes[1, column].set_title(f"error, std {np.std(error):.3g}", fontsize=8)
    figure.suptitle(f"{modality} phantom (research use only)", fontsize=10)
    figure.savefig(path, dpi=64)


if __name__ == "__main__":
    main()
