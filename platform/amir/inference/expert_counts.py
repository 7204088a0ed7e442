"""How many pixels each expert saw in the latest forward, counted beside it."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from amir.models.routing import Choice, Router


class ExpertCounts:
    """Watches the routers of a network; what the network computes stays the same to the bit."""

    def __init__(self, network: nn.Module) -> None:
        self._chosen: dict[str, tuple[Tensor, int]] = {}
        for path, module in network.named_modules():
            if isinstance(module, Router):
                self._watch(level_name(path.removesuffix(".router")), module)

    def clear(self) -> None:
        self._chosen.clear()

    def shares(self, images: int) -> dict[str, Tensor]:
        """By level [B, M], share of an image's pixels that each expert saw; they sum to K."""
        return {
            level: _shares(experts.view(images, -1), number, experts.shape[1])
            for level, (experts, number) in self._chosen.items()
        }

    def _watch(self, level: str, router: Router) -> None:
        def keep(_: nn.Module, __: object, choice: Choice) -> None:
            self._chosen[level] = choice.experts, choice.logits.shape[1]

        router.register_forward_hook(keep)


def level_name(path: str) -> str:
    """`encoder_routing.0` -> `encoder 1`, `latent_routing` -> `latent`."""
    found = re.fullmatch(r"(\w+?)_routing(?:\.(\d+))?", path)
    if not found:
        return path
    stage, number = found.groups()
    return stage if number is None else f"{stage} {int(number) + 1}"


def _shares(chosen: Tensor, experts: int, choices: int) -> Tensor:
    """chosen: [B, pixels * K] indices of experts."""
    counts = torch.zeros(len(chosen), experts, device=chosen.device)
    ones = torch.ones((), device=chosen.device).expand(chosen.shape)
    return counts.scatter_add_(1, chosen, ones) / (chosen.shape[1] // choices)
