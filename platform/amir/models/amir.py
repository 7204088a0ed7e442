"""AMIR: one network for MRI super-resolution, CT denoising and PET synthesis.

Yang et al., "All-In-One Medical Image Restoration via Task-Adaptive Routing", MICCAI 2024 (arXiv
2405.19769): a Restormer with an instruction drawn from the whole input, spatial routing before the
encoder levels and channel routing before the latent and decoder levels. `routing="published"` is
what the authors' code computes and what made the paper's tables, `routing="paper"` what its
equations say (see `amir.models.routing`). The rows of the paper's Table 3 are settings of it:
`instruction`, `spatial_routing`, `channel_routing`. Differs from the published code in rounding,
and where its exp() overflows or its log() meets zero: here the combination stays finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from amir.errors import InputError
from amir.models.layers import Downsample, Upsample, conv3x3, convolve, transformer_blocks
from amir.models.restored import Restored
from amir.models.routing import (
    ROUTINGS,
    DirectInstruction,
    InstructionKind,
    Routing,
    RoutingKind,
    SpatialRouting,
    WithoutChannelRouting,
    WithoutExperts,
)

LEVELS = 4
SIZE_MULTIPLE = 8
SMALLEST_SIZE = 16


class AMIR(nn.Module):
    """[B, 1, H, W] in 0..1 to Restored; H and W are multiples of 8 and at least 16.

    dim: channels at full size, doubled at each of four levels.
    blocks, heads: transformer blocks and attention heads per level; decoder levels have the same.
    instructions: entries of the dictionary (N); without a dictionary, features behind it.
    experts, top_k: how many experts there are (M) and how many of them serve one pixel (K).
    gate_noise: draw noise onto the router's logits in training.
    instruction: from a dictionary; direct, from the features themselves; contrastive, the same
    network, which training also teaches to tell images apart (`amir.training.contrast`).
    spatial_routing, channel_routing: leave either out. Without spatial routing the instruction is
    still added to the encoder's features.
    """

    def __init__(
        self,
        *,
        dim: int = 42,
        blocks: Sequence[int] = (5, 7, 7, 9),
        refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        instructions: int = 32,
        experts: int = 4,
        top_k: int = 2,
        routing: RoutingKind = "published",
        gate_noise: bool = True,
        instruction: InstructionKind = "dictionary",
        spatial_routing: bool = True,
        channel_routing: bool = True,
    ) -> None:
        super().__init__()
        _check_widths(dim, blocks, refinement_blocks, heads)
        _check_routing(instructions, experts, top_k, routing, instruction)
        form = ROUTINGS[routing]
        channel = form.channel if channel_routing else _without_channel_routing
        widths = [dim * 2**level for level in range(LEVELS)]
        decoder_widths = [2 * dim, *widths[1:3]]

        self.instruction = _instruction(form, instruction, instructions)
        self.embed = conv3x3(1, dim)
        self.encoder_routing = nn.ModuleList(
            form.spatial(width, experts=experts, top_k=top_k, gate_noise=gate_noise)
            if spatial_routing
            else WithoutExperts(width)
            for width in widths[:3]
        )
        self.encoder = nn.ModuleList(map(transformer_blocks, blocks[:3], widths[:3], heads[:3]))
        self.down = nn.ModuleList(map(Downsample, widths[:3]))
        self.latent_routing = channel(widths[3])
        self.latent = transformer_blocks(blocks[3], widths[3], heads[3])
        self.up = nn.ModuleList(map(Upsample, widths[1:]))
        # At full size the skip connection stays beside the decoder's channels.
        self.merge = nn.ModuleList(
            [nn.Identity(), *(nn.Linear(2 * width, width, bias=False) for width in widths[1:3])]
        )
        self.decoder_routing = nn.ModuleList(map(channel, decoder_widths))
        self.decoder = nn.ModuleList(map(transformer_blocks, blocks[:3], decoder_widths, heads[:3]))
        self.refinement = transformer_blocks(refinement_blocks, 2 * dim, heads[0])
        self.output = conv3x3(2 * dim, 1)

    def instruct(self, degraded: Tensor) -> Tensor:
        """The instruction [B, 256], an average over the whole image: tiles share their slice's."""
        instruction: Tensor = self.instruction(degraded)
        return instruction

    def draw_gate_noise(self, degraded: Tensor) -> list[Tensor]:
        """What `forward` would draw for these images in training; empty if it draws nothing."""
        batch, _, height, width = degraded.shape
        return [
            torch.randn(
                batch * (height >> level) * (width >> level),
                len(routing.experts),
                device=degraded.device,
            )
            for level, routing in enumerate(self.encoder_routing)
            if isinstance(routing, SpatialRouting) and routing.router.gate_noise
        ]

    def forward(
        self,
        degraded: Tensor,
        *,
        instruction: Tensor | None = None,
        gate_noise: Sequence[Tensor] | None = None,
    ) -> Restored:
        """degraded: [B, 1, H, W] in 0..1.

        instruction: [B or 1, 256], taken from the image itself if None.
        gate_noise: per encoder level, standard normal [B * h * w, experts], drawn if None; read in
        training only.
        """
        _check_image(degraded)
        if instruction is None:
            instruction = self.instruct(degraded)
        x, skips, balance = self._encode(degraded, instruction, gate_noise or [None] * 3)
        x = self.latent(self.latent_routing(x, instruction))
        x = self.refinement(self._decode(x, skips, instruction))
        return Restored(degraded + convolve(self.output, x).permute(0, 3, 1, 2), balance)

    def _encode(
        self, degraded: Tensor, instruction: Tensor, gate_noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """The deepest features, each level's skip connection, the balance loss of all levels."""
        x = convolve(self.embed, degraded.permute(0, 2, 3, 1)).contiguous()
        skips: list[Tensor] = []
        losses: list[Tensor] = []
        levels = zip(self.encoder_routing, self.encoder, self.down, gate_noise, strict=True)
        for route, blocks, down, noise in levels:
            x, loss = route(x, instruction, noise)
            x = blocks(x)
            skips.append(x)
            losses.append(loss)
            x = down(x)
        return x, skips, torch.stack(losses).sum()

    def _decode(self, x: Tensor, skips: list[Tensor], instruction: Tensor) -> Tensor:
        levels = zip(self.up, skips, self.merge, self.decoder_routing, self.decoder, strict=True)
        for up, skip, merge, route, blocks in reversed(list(levels)):
            x = merge(torch.cat([up(x), skip], dim=-1))
            x = blocks(route(x, instruction))
        return x


def _instruction(form: Routing, kind: InstructionKind, instructions: int) -> nn.Module:
    if kind == "dictionary":
        return form.instruction(instructions)
    return DirectInstruction(instructions, form.activation())


def _without_channel_routing(channels: int) -> nn.Module:
    return WithoutChannelRouting()


def _check_widths(
    dim: int, blocks: Sequence[int], refinement_blocks: int, heads: Sequence[int]
) -> None:
    if dim < 2 or dim % 2:
        raise InputError(
            "invalid_setting", f"dim {dim}: it is halved on the way down, choose an even number"
        )
    for name, per_level in (("blocks", blocks), ("heads", heads)):
        if len(per_level) != LEVELS or min(per_level) < 1:
            raise InputError(
                "invalid_setting",
                f"{name} {list(per_level)}: give {LEVELS} positive numbers, one per level",
            )
    if refinement_blocks < 0:
        raise InputError(
            "invalid_setting", f"refinement_blocks {refinement_blocks}: give zero or more"
        )
    for level, number in enumerate(heads):
        if dim * 2**level % number:
            raise InputError(
                "invalid_setting",
                f"heads {list(heads)}: {number} heads cannot share the {dim * 2**level} channels "
                f"of level {level + 1}; choose divisors",
            )


def _check_routing(
    instructions: int, experts: int, top_k: int, routing: str, instruction: str
) -> None:
    for name, value, known in (
        ("routing", routing, tuple(ROUTINGS)),
        ("instruction", instruction, get_args(InstructionKind)),
    ):
        if value not in known:
            raise InputError("invalid_setting", f"{name} {value!r}: choose from {', '.join(known)}")
    if instructions < 1 or experts < 1:
        raise InputError(
            "invalid_setting",
            f"instructions {instructions}, experts {experts}: give at least one of each",
        )
    if not 1 <= top_k <= experts:
        raise InputError(
            "invalid_setting",
            f"top_k {top_k}: a pixel is served by at least one and at most all {experts} experts",
        )


def _check_image(degraded: Tensor) -> None:
    shape = tuple(degraded.shape)
    if len(shape) != 4 or shape[1] != 1:
        raise ValueError(f"degraded has shape {shape}; give [B, 1, H, W]")
    if any(side % SIZE_MULTIPLE or side < SMALLEST_SIZE for side in shape[2:]):
        raise ValueError(
            f"degraded has shape {shape}; height and width must be multiples of {SIZE_MULTIPLE} "
            f"and at least {SMALLEST_SIZE}: pad before, crop after (amir.inference does)"
        )
