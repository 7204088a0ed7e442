"""Figures of the routing: expert maps, expert use, instructions, interference, channel masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.evaluation.charts import SERIES_COLOURS, TASK_COLOURS, Chart, drawing
from amir.evaluation.routing.expert_use import mean_use, task_information
from amir.evaluation.routing.interference import Interference
from amir.evaluation.routing.observed import SliceRouting
from amir.modality import Modality
from amir.panels import window

WIDTH = 4.7  # inches: readable on a telephone, two beside each other on a desk


def draw_expert_maps(routing: SliceRouting) -> Chart:
    """Which experts see which pixel of a slice: levels down, then choice and gates."""
    pair, levels = routing.pair, routing.spatial
    experts = next(iter(levels.values())).gates.shape[-1]
    shape = pair.degraded.shape
    aspect = pair.spacing_mm[0] / pair.spacing_mm[1]
    columns = experts + 3
    tall = shape[0] * aspect / shape[1]
    with drawing(1.15 * columns, (1.1 * tall + 0.25) * len(levels) + 0.2) as drawn:
        grid = drawn.figure.subplots(len(levels), columns, squeeze=False)
        lower, upper = window(pair)
        for axes, (name, record) in zip(grid, levels.items(), strict=True):
            factor = round(shape[0] / len(record.gates))
            _show(axes[0], pair.degraded[::factor, ::factor], "gray", (lower, upper), aspect)
            _show(axes[1], record.experts[..., 0], _palette(experts), (-0.5, experts - 0.5), aspect)
            for expert in range(experts):
                gate = record.gates[..., expert]
                _show(axes[2 + expert], gate, "viridis", (0, 1), aspect)
            _show(axes[-1], record.entropy, "magma", (0, 1), aspect)
            axes[0].set_ylabel(name)
        heads = ["degraded", "first choice", *(f"expert {e + 1}" for e in range(experts))]
        for axis, head in zip(grid[0], [*heads, "entropy"], strict=True):
            axis.set_title(head, fontsize=8.5)
    shares = {name: record.asked.mean(axis=(0, 1)) for name, record in levels.items()}
    told = "; ".join(f"{name}: {_listed(share)}" for name, share in shares.items())
    return Chart(
        f"expert-maps-{pair.modality}",
        f"{pair.modality}, patient {pair.patient_id}, slice {pair.slice_index}. Down: the "
        "encoder's levels, each at half the resolution of the one before. First choice: the expert "
        "with the largest gate. Expert columns: its gate, dark 0 to bright 1. Entropy: of the "
        "router, dark certain to bright undecided.",
        f"Share of pixels that each expert sees. {told}.",
        drawn.svg,
    )


def draw_expert_use(rows: Sequence[dict[str, Any]]) -> Chart:
    """The paper's Fig. III b: bars of each expert's share of pixels, by task and level."""
    levels = list(dict.fromkeys(row["level"] for row in rows))
    with drawing(WIDTH, 1.35 * len(levels) + 0.5) as drawn:
        told = []
        for axis, level in zip(_column(drawn.figure, len(levels)), levels, strict=True):
            use = mean_use(rows, level)
            for k, (task, shares) in enumerate(use.items()):
                place = np.arange(len(shares)) + (k - (len(use) - 1) / 2) * 0.25
                axis.bar(place, 100 * shares, 0.23, color=TASK_COLOURS[task], label=str(task))
                told.append(f"{level}, {task}: {_listed(shares)}")
            axis.set_xticks(range(len(shares)), [f"expert {e + 1}" for e in range(len(shares))])
            axis.set_ylim(0, 100)
            axis.set_ylabel("% of pixels")
            axis.set_title(f"{level}: {task_information(use):.2f} bit about the task", loc="left")
            axis.grid(axis="x", visible=False)
        _legend_above(drawn.figure, axis)
    return Chart(
        "expert-use",
        "Share of pixels that each expert sees, mean over slices. Each pixel is seen by K experts, "
        "so the bars of a task sum to K times 100 %. The bits say how much the choice of one pixel "
        "tells about its task: 0 where all tasks use the experts alike.",
        "; ".join(told),
        drawn.svg,
    )


def draw_instructions(
    points: NDArray[np.float64], tasks: Sequence[str], *, method: str, separation: float | None
) -> Chart:
    """The paper's Fig. III a: one dot per slice in the plane."""
    with drawing(WIDTH, 3.4) as drawn:
        axis = drawn.figure.subplots()
        for task in Modality:
            own = points[[t == task for t in tasks]]
            if len(own):
                axis.scatter(*own.T, s=14, color=TASK_COLOURS[task], alpha=0.75, linewidths=0)
                axis.scatter([], [], s=30, color=TASK_COLOURS[task], label=f"{task} ({len(own)})")
        axis.set(xticklabels=[], yticklabels=[])
        axis.set_aspect("equal", adjustable="datalim")
        axis.set_xlabel("distances between groups mean nothing" if method == "tsne" else "PC 1")
        axis.set_ylabel("" if method == "tsne" else "PC 2")
        _legend_above(drawn.figure, axis)
    how = "t-SNE" if method == "tsne" else "the two principal components"
    told = "unknown" if separation is None else f"{separation:.2f}"
    return Chart(
        f"instructions-{method}",
        f"Instructions of {len(points)} slices by {how}; slices of one patient are alike. "
        f"Silhouette of the tasks in all dimensions: {told} (1: apart, 0: mixed).",
        f"{len(points)} slices as dots, coloured by task; silhouette {told}.",
        drawn.svg,
    )


def draw_interference(interference: Interference) -> Chart:
    """The paper's Fig. I b: a 3 x 3 map of the whole network, and every layer's off-diagonal."""
    tasks, layers = interference.tasks, interference.layers[:-1]
    with drawing(WIDTH, 4.6) as drawn:
        above, below = drawn.figure.subplots(2, 1, height_ratios=(1.3, 1))
        whole = interference.matrix[-1]
        limit = max(1.0, float(np.nanmax(np.abs(whole), initial=0)))
        shown = above.imshow(whole, cmap="RdBu", vmin=-limit, vmax=limit)
        drawn.figure.colorbar(shown, ax=above, shrink=0.8).outline.set_visible(False)
        for (i, j), value in np.ndenumerate(whole):
            dark = abs(value) > 0.6 * limit
            text = "?" if np.isnan(value) else f"{value:.2f}"
            above.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
        names = [str(task) for task in tasks]
        above.set_xticks(range(len(tasks)), names)
        above.set_yticks(range(len(tasks)), names)
        above.set(xlabel="step of task j", ylabel="loss of task i", title="all layers together")
        above.grid(visible=False)
        _draw_layers(below, interference)
    return Chart(
        "interference",
        "Interference (Zhu et al. 2022): how a gradient step of task j changes the loss of task i, "
        "relative to task i's own step. 1: as good as its own; below 0: it harms; ?: the own step "
        f"does not help on other data. Below, each of {len(layers)} layers in the order of work, "
        "clipped at ±1.5, grey where the own step does not help; a dot marks what differs from 0 "
        f"by more than two standard errors over {interference.batches} batches.",
        "; ".join(
            f"step of {tasks[j]} for {tasks[i]}: {whole[i, j]:.2f}"
            for i in range(len(tasks))
            for j in range(len(tasks))
            if i != j
        ),
        drawn.svg,
    )


def draw_channel_masks(routings: Sequence[SliceRouting]) -> Chart:
    """Mean channel mask of each task, one row per task, at each level with channel routing."""
    masks = mean_masks(routings)
    levels = list(dict.fromkeys(level for own in masks.values() for level in own))
    with drawing(WIDTH, 0.85 * len(levels) + 0.6) as drawn:
        for axis, level in zip(_column(drawn.figure, len(levels)), levels, strict=True):
            image = np.stack([own[level] for own in masks.values()])
            shown = axis.imshow(image, cmap="viridis", vmin=0, vmax=1, aspect="auto")
            axis.set_yticks(range(len(masks)), [str(task) for task in masks])
            axis.set_title(f"{level}, {image.shape[1]} channels", loc="left")
            axis.grid(visible=False)
        drawn.figure.colorbar(shown, ax=drawn.figure.axes, shrink=0.6).outline.set_visible(False)
    differences = {level: _spread([own[level] for own in masks.values()]) for level in levels}
    return Chart(
        "channel-masks",
        "Sigmoid mask of each channel (dark 0 to bright 1), mean over the slices of a task.",
        "Standard deviation between tasks, mean over channels: "
        + ", ".join(f"{level} {value:.3f}" for level, value in differences.items()),
        drawn.svg,
    )


def mean_masks(routings: Sequence[SliceRouting]) -> dict[Modality, dict[str, NDArray[Any]]]:
    """Task -> level -> mean mask [C]."""
    found = {}
    for task in Modality:
        own = [routing.masks for routing in routings if routing.pair.modality is task]
        if own:
            found[task] = {level: np.mean([m[level] for m in own], axis=0) for level in own[0]}
    return found


def _draw_layers(axis: Any, interference: Interference) -> None:
    tasks = interference.tasks
    pairs = [(i, j) for i in range(len(tasks)) for j in range(len(tasks)) if i != j]
    values = np.stack([interference.matrix[:-1, i, j] for i, j in pairs])
    errors = np.stack([interference.error[:-1, i, j] for i, j in pairs])
    axis.set_facecolor("#808080")
    axis.imshow(values.clip(-1.5, 1.5), cmap="RdBu", vmin=-1.5, vmax=1.5, aspect="auto")
    row, layer = np.nonzero(np.abs(values) > 2 * errors)
    axis.scatter(layer, row, s=3, color="black", linewidths=0)
    axis.set_yticks(range(len(pairs)), [f"{tasks[j]} for {tasks[i]}" for i, j in pairs])
    axis.set(xlabel="layer, first to last")
    axis.grid(visible=False)


def _spread(masks: Sequence[NDArray[Any]]) -> float:
    return float(np.stack(masks).std(axis=0).mean())


def _show(
    axis: Any, image: NDArray[Any], colours: Any, limits: tuple[float, float], aspect: float
) -> None:
    axis.imshow(image, cmap=colours, vmin=limits[0], vmax=limits[1], aspect=aspect)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.set_frame_on(False)


def _palette(experts: int) -> Any:
    from matplotlib.colors import ListedColormap

    repeats = -(-experts // len(SERIES_COLOURS))
    return ListedColormap((SERIES_COLOURS * repeats)[:experts])


def _column(figure: Any, count: int) -> Sequence[Any]:
    axes: Sequence[Any] = figure.subplots(count, 1, squeeze=False)[:, 0]
    return axes


def _legend_above(figure: Any, axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))


def _listed(shares: Mapping[str, float] | NDArray[Any]) -> str:
    return ", ".join(f"expert {e + 1} {share:.0%}" for e, share in enumerate(shares))
