"""Task interference: how a gradient step for one task changes the loss of another, layer by layer.

Zhu et al., "Uni-Perceiver-MoE: Learning Sparse Generalist Models with Conditional MoEs", NeurIPS
2022, section on task interference; the paper's Fig. I b. With theta the parameters of one layer,
L_i the loss of task i on a batch x_i, and u_j = grad L_j(x_j) / |grad L_j(x_j)|, the step of task j
changes the loss of task i by

    Delta_j L_i(x_i) = E_xj[ L_i(x_i; theta) - L_i(x_i; theta - lambda u_j) ]
                    ~= lambda E_xj[ u_j . grad L_i(x_i) ]        (to first order in lambda)

and the interference of task j on task i is I_ij = E_xi[ Delta_j L_i(x_i) ] / E_xi[ Delta_i L_i(x_i)
]: 1 on the diagonal, positive where task j helps task i, negative where it harms it. Zhu et al.
average the ratio of each batch; here the averages are divided, because with few batches a single
denominator near zero would decide all. The own step is judged on other batches than its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amir.errors import InputError
from amir.modality import Modality

Batch = tuple[Tensor, Tensor]  # degraded, target: [B, 1, H, W] in 0..1
WHOLE = "all layers"
FEWEST_BATCHES = 2


@dataclass(frozen=True, eq=False)
class Interference:
    """matrix: I_ij [layers, tasks i, tasks j], nan where a task's own step does not help it.

    error: standard error of the numerator's mean over batches, in the same units. layers: in the
    order in which they work; the last entry is the whole network taken as one layer.
    """

    tasks: tuple[Modality, ...]
    layers: tuple[str, ...]
    matrix: NDArray[np.float64]
    error: NDArray[np.float64]
    batches: int


def task_interference(
    network: nn.Module, batches: Mapping[Modality, Sequence[Batch]]
) -> Interference:
    """Interference of the tasks in every layer of a network, which is left as it was.

    batches: at least two for each task, the same number for all. The loss is the restoration loss
    alone (L1), without gate noise: what a task wants, not what balances the experts.
    """
    count = _check(batches)
    layers = layers_of(network, next(iter(batches.values()))[0][0])
    tasks = tuple(batches)
    steps = {task: _mean_steps(network, layers, own) for task, own in batches.items()}
    changes = np.zeros((len(layers), len(tasks), len(tasks), count))
    for i, task in enumerate(tasks):
        for a, batch in enumerate(batches[task]):
            gradients = _gradients(network, layers, batch)
            for j, other in enumerate(tasks):
                changes[:, i, j, a] = _change(gradients, steps[other], own=i == j, batches=count)
    return _divide(tasks, tuple(layers), changes)


def layers_of(network: nn.Module, degraded: Tensor) -> dict[str, list[str]]:
    """Layer -> names of its parameters, in the order in which the layers work on an image.

    A layer is an attention, a feed-forward part, a routing module or what else stands by itself.
    """
    layers: dict[str, list[str]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            layers.setdefault(_layer(name), []).append(name)
    order = _order_of_work(network, list(layers), degraded)
    ordered = {layer: layers[layer] for layer in order}
    return ordered | {WHOLE: [name for names in layers.values() for name in names]}


def _layer(parameter: str) -> str:
    """encoder.0.3.attention.qkv.weight -> encoder.0.3.attention; down.1.conv.weight -> down.1."""
    parts = parameter.split(".")[:-1]
    for block in ("attention", "feed_forward"):
        if block in parts:
            return ".".join(parts[: parts.index(block) + 1])
    return ".".join([*parts[:1], *(part for part in parts[1:2] if part.isdecimal())])


def _order_of_work(network: nn.Module, layers: Sequence[str], degraded: Tensor) -> list[str]:
    """The layers as one forward calls them; those it never calls as modules come last."""
    seen: list[str] = []
    wanted = dict(network.named_modules())
    handles = [
        wanted[layer].register_forward_hook(lambda *_, layer=layer: seen.append(layer))
        for layer in layers
        if layer in wanted
    ]
    try:
        with torch.no_grad():
            network(degraded)
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys([*seen, *layers]))


def _check(batches: Mapping[Modality, Sequence[Batch]]) -> int:
    counts = {task: len(own) for task, own in batches.items()}
    if len(set(counts.values())) != 1 or min(counts.values()) < FEWEST_BATCHES:
        told = ", ".join(f"{task} {count}" for task, count in counts.items()) or "none"
        raise InputError(
            "invalid_setting",
            f"interference needs the same number of batches of every task, at least "
            f"{FEWEST_BATCHES}; given: {told}",
        )
    return next(iter(counts.values()))


Gradients = dict[str, Tensor]


def _gradients(network: nn.Module, layers: Mapping[str, Sequence[str]], batch: Batch) -> Gradients:
    """Gradient of L1 by each layer's parameters, flat."""
    degraded, target = batch
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        loss = (network(degraded).image - target).abs().mean()
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    flat = {
        name: (torch.zeros_like(p) if g is None else g).flatten()
        for (name, p), g in zip(parameters.items(), found, strict=True)
    }
    return {layer: torch.cat([flat[n] for n in names]) for layer, names in layers.items()}


def _mean_steps(
    network: nn.Module, layers: Mapping[str, Sequence[str]], batches: Sequence[Batch]
) -> Gradients:
    """Mean over a task's batches of the unit gradient of each layer."""
    total: Gradients = {}
    for batch in batches:
        for layer, gradient in _gradients(network, layers, batch).items():
            unit = gradient / gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny)
            total[layer] = total[layer] + unit if layer in total else unit
    return {layer: steps / len(batches) for layer, steps in total.items()}


def _change(gradients: Gradients, steps: Gradients, *, own: bool, batches: int) -> list[float]:
    """Delta L of one batch for each layer; a task's own step leaves this very batch out."""
    changes = []
    for layer, gradient in gradients.items():
        change = float(steps[layer] @ gradient)
        if own:
            # The batch's own unit gradient adds |gradient| / n to the mean over all n.
            change = (batches * change - float(gradient.norm())) / (batches - 1)
        changes.append(change)
    return changes


def _divide(
    tasks: tuple[Modality, ...], layers: tuple[str, ...], changes: NDArray[np.float64]
) -> Interference:
    mean = changes.mean(axis=3)
    own = mean[:, range(len(tasks)), range(len(tasks))]
    helped = np.where(own > 0, own, np.nan)[:, :, None]
    spread = changes.std(axis=3, ddof=1) / np.sqrt(changes.shape[3])
    return Interference(tasks, layers, mean / helped, spread / helped, changes.shape[3])
