"""The paper's ablation "with contrastive learning": momentum contrast on the routing instruction.

He et al., "Momentum contrast for unsupervised visual representation learning", CVPR 2020, with the
pairs of AirNet (Li et al., CVPR 2022): two crops of one image are alike, those of other images
differ. All that is here is training state; restoring needs none of it.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from amir.config import LossSettings, TrainSettings
from amir.losses import contrastive_loss
from amir.models.routing import INSTRUCTION_WIDTH

SMALLEST_VIEW = 9  # pixels: what the two unpadded strides of 3 of the instruction's network need


class MomentumContrast(nn.Module):
    """A slowly following copy of the instruction's network, and a queue of what it said of late.

    encoder: degraded [B, 1, H, W] to instructions [B, D]. width: D. The queue starts with random
    directions, drawn from the seed; all workers hold the same one.
    """

    queue: Tensor
    position: Tensor

    def __init__(self, encoder: nn.Module, settings: LossSettings, *, width: int, seed: int):
        super().__init__()
        self.weight = settings.contrast_weight
        self.temperature = settings.contrast_temperature
        self.momentum = settings.contrast_momentum
        self.follower = copy.deepcopy(encoder).requires_grad_(False)
        shape = (settings.contrast_queue, width)
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("queue", F.normalize(drawn, dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def loss(self, encoder: nn.Module, first: Tensor, second: Tensor) -> Tensor:
        """How badly the encoder's answer to each first view is told from all but its second view's.

        first, second: [B, 1, h, w], two views of the same images. The follower takes its step
        towards the encoder, and its answers of all workers enter the queue.
        """
        self._follow(encoder)
        keys = self._keys(second)
        loss = contrastive_loss(
            encoder(first), keys, self.queue.clone(), temperature=self.temperature
        )
        self._enqueue(_of_all_workers(keys))
        return loss

    @torch.no_grad()
    def _follow(self, encoder: nn.Module) -> None:
        pairs = zip(self.follower.parameters(), encoder.parameters(), strict=True)
        for mine, theirs in pairs:
            mine.lerp_(theirs, 1 - self.momentum)

    @torch.no_grad()
    def _keys(self, views: Tensor) -> Tensor:
        return F.normalize(self.follower(views), dim=1)

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        """The newest keys replace the oldest."""
        places = (self.position + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[places] = keys
        self.position.add_(len(keys)).remainder_(len(self.queue))


def momentum_contrast(settings: TrainSettings, model: nn.Module) -> MomentumContrast | None:
    """What trains the instruction beside the restoration, where the model's settings ask for it."""
    if settings.model.instruction != "contrastive":
        return None
    encoder = instruction_network(model)
    device = next(encoder.parameters()).device
    contrast = MomentumContrast(encoder, settings.loss, width=INSTRUCTION_WIDTH, seed=settings.seed)
    return contrast.to(device)


def instruction_network(model: nn.Module) -> nn.Module:
    """The part of an AMIR, wrapped for several workers or not, that finds the instruction."""
    return cast(nn.Module, getattr(model, "module", model).instruction)


def two_views(degraded: Tensor) -> tuple[Tensor, Tensor]:
    """Two crops of each image with half its height and width, where torch's generator puts them."""
    return _random_crops(degraded), _random_crops(degraded)


def _random_crops(images: Tensor) -> Tensor:
    height, width = (max(SMALLEST_VIEW, side // 2) for side in images.shape[2:])
    # Drawn on the CPU: one stream of numbers, whatever the device.
    tops = torch.randint(images.shape[2] - height + 1, (len(images),)).tolist()
    lefts = torch.randint(images.shape[3] - width + 1, (len(images),)).tolist()
    return torch.stack(
        [
            image[:, top : top + height, left : left + width]
            for image, top, left in zip(images, tops, lefts, strict=True)
        ]
    )


def _of_all_workers(keys: Tensor) -> Tensor:
    """[B, D] of each worker as [workers * B, D], in the order of their ranks."""
    if not (dist.is_available() and dist.is_initialized()):
        return keys
    gathered = [torch.empty_like(keys) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, keys)
    return torch.cat(gathered)
