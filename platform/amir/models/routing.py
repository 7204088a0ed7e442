"""AMIR's routing, in two forms: as the paper writes it and as its authors' code has it.

The instruction says what kind of image it is, spatial routing sends each pixel to experts, channel
routing weights the channels; and what stands in their places in the paper's ablations. Yang et
al., "All-In-One Medical Image Restoration via Task-Adaptive Routing", MICCAI 2024, section 2;
sparse gating and its balance loss after Shazeer et al., "Outrageously Large Neural Networks", ICLR
2017.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from amir.models.layers import ALIGNMENT, sum_over_workers

RoutingKind = Literal["published", "paper"]
InstructionKind = Literal["dictionary", "direct", "contrastive"]
INSTRUCTION_WIDTH = 256
EXPERT_EXPANSION = 2.66
SMALLEST_NOISE = 0.01


def _condition_network(outputs: int) -> nn.Sequential:
    """[B, 1, H, W] to [B, outputs, H // 9, W // 9]: five convolutions, two with stride 3."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, stride=3),
        nn.LeakyReLU(0.1),
        nn.Conv2d(64, 64, 3, stride=3),
        nn.LeakyReLU(0.1),
        nn.Conv2d(64, 64, 1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(64, 64, 1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(64, outputs, 1),
    )


class PublishedInstruction(nn.Module):
    """gelu(softmax(linear(mean of 32 features)) @ dictionary): [B, 1, H, W] to [B, 256]."""

    def __init__(self, instructions: int) -> None:
        super().__init__()
        self.condition = _condition_network(32)
        self.to_logits = nn.Linear(32, instructions)
        self.dictionary = nn.Parameter(torch.randn(instructions, INSTRUCTION_WIDTH))

    def forward(self, degraded: Tensor) -> Tensor:
        logits = self.to_logits(self.condition(degraded).mean(dim=(2, 3)))
        return F.gelu(logits.softmax(dim=-1) @ self.dictionary)


class PaperInstruction(nn.Module):
    """Eq. 1, softmax(mean of N features) @ dictionary: [B, 1, H, W] to [B, 256]."""

    def __init__(self, instructions: int) -> None:
        super().__init__()
        self.condition = _condition_network(instructions)
        self.dictionary = nn.Parameter(torch.randn(instructions, INSTRUCTION_WIDTH))

    def forward(self, degraded: Tensor) -> Tensor:
        weights = self.condition(degraded).mean(dim=(2, 3)).softmax(dim=-1)
        instruction: Tensor = weights @ self.dictionary
        return instruction


class DirectInstruction(nn.Module):
    """Without a dictionary, FC(mean of N features): [B, 1, H, W] to [B, 256].

    activation: what the form of routing ends its instruction with.
    """

    def __init__(self, features: int, activation: nn.Module) -> None:
        super().__init__()
        self.condition = _condition_network(features)
        self.to_instruction = nn.Linear(features, INSTRUCTION_WIDTH)
        self.activation = activation

    def forward(self, degraded: Tensor) -> Tensor:
        features = self.condition(degraded).mean(dim=(2, 3))
        instruction: Tensor = self.activation(self.to_instruction(features))
        return instruction


class Choice(NamedTuple):
    """The experts of each of T pixels, best first."""

    experts: Tensor
    """[T, K] indices."""

    logits: Tensor
    """[T, M], with the gate noise in training."""

    load: Tensor | None
    """[M], how many pixels each expert can expect under the noise; None without noise or choice."""


class Router(nn.Module):
    """Logits of M experts per pixel from [x, instruction], and the K largest of them."""

    def __init__(self, channels: int, experts: int, top_k: int, *, gate_noise: bool) -> None:
        super().__init__()
        self.top_k = top_k
        self.gate_noise = gate_noise
        self.to_logits = nn.Parameter(torch.randn(2 * channels, experts))
        # Unused without noise, so frozen then: DDP waits for whatever may get a gradient.
        self.to_noise = nn.Parameter(torch.zeros(2 * channels, experts), requires_grad=gate_noise)

    def forward(self, x: Tensor, instruction: Tensor, noise: Tensor | None) -> Choice:
        """x: [B, H, W, C]; instruction: [B or 1, C]; noise: N(0, 1) [T, M], drawn if None."""
        clean = self._product(x, instruction, self.to_logits)
        if not (self.training and self.gate_noise):
            return Choice(clean.topk(self.top_k, dim=1).indices, clean, None)
        noise = torch.randn_like(clean) if noise is None else noise
        if noise.shape != clean.shape:
            raise ValueError(f"gate noise has shape {tuple(noise.shape)}, not {tuple(clean.shape)}")
        scale = F.softplus(self._product(x, instruction, self.to_noise)) + SMALLEST_NOISE
        noisy = clean + noise * scale
        if self.top_k == clean.shape[1]:
            return Choice(noisy.topk(self.top_k, dim=1).indices, noisy, None)
        values, experts = noisy.topk(self.top_k + 1, dim=1)
        load = _probability_of_choice(clean, noisy, scale, values[:, -2:]).sum(dim=0)
        return Choice(experts[:, :-1], noisy, load)

    @staticmethod
    def _product(x: Tensor, instruction: Tensor, weight: Tensor) -> Tensor:
        """[x, instruction] @ weight, [T, M], without writing the instruction beside every pixel."""
        channels = x.shape[-1]
        of_pixels = x @ weight[:channels]
        of_image = instruction @ weight[channels:]
        return (of_pixels + of_image[:, None, None]).flatten(0, 2)


def _probability_of_choice(clean: Tensor, noisy: Tensor, scale: Tensor, border: Tensor) -> Tensor:
    """[T, M]: how probably an expert is among the K largest, were only its own noise drawn anew.

    Shazeer, appendix A. border: [T, 2], the K-th and the (K+1)-th largest noisy logit; an expert
    that is in must beat the (K+1)-th, one that is out the K-th.
    """
    kth, next_one = border.split(1, dim=1)
    threshold = torch.where(noisy > next_one, next_one, kth)
    return 0.5 * (1 + torch.erf((clean - threshold) / (scale * math.sqrt(2))))


class _Dispatch(torch.autograd.Function):
    """x once per (pixel, choice) pair, in the order given; backward without scattering."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.choices = len(order) // len(x)
        ctx.save_for_backward(inverse)
        return x[order // ctx.choices]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradient[inverse].unflatten(0, (-1, ctx.choices)).sum(dim=1), None, None


class _Reorder(torch.autograd.Function):
    """rows[order], a permutation whose inverse is known."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows[order]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradient[inverse], None, None


class Experts(nn.ModuleList):
    """M small networks C -> int(2.66 C) -> C with GELU; each works on the pixels that chose it."""

    def __init__(self, channels: int, experts: int) -> None:
        hidden = int(channels * EXPERT_EXPANSION)
        super().__init__(
            nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))
            for _ in range(experts)
        )

    def forward(self, x: Tensor, chosen: Tensor) -> Tensor:
        """x: [T, C]; chosen: [T, K]. What the chosen experts say: [T, K, C].

        An expert without a pixel still runs, on none: its gradient is then zero, not missing.
        """
        pairs = chosen.flatten()
        order = pairs.argsort()
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(len(order), device=order.device)
        counts = torch.bincount(pairs, minlength=len(self)).tolist()
        rows = _Dispatch.apply(x, order, inverse).split(counts)
        outputs = torch.cat([expert(part) for expert, part in zip(self, rows, strict=True)])
        in_order: Tensor = _Reorder.apply(outputs, inverse, order)
        return in_order.view(*chosen.shape, -1)

    def everywhere(self, x: Tensor) -> Tensor:
        """x: [T, C]. What every expert says of every pixel: [T, M, C].

        Two matrix products for all experts, their hidden width filled up with zeros that add
        nothing: gelu(0) = 0. Writes M * (hidden + C) values per pixel.
        """
        layers = [(cast(nn.Linear, net[0]), cast(nn.Linear, net[2])) for net in self._networks()]
        extra = -layers[0][0].out_features % ALIGNMENT
        inner = torch.stack([F.pad(first.weight, (0, 0, 0, extra)) for first, _ in layers])
        shift = torch.stack([F.pad(first.bias, (0, extra)) for first, _ in layers])
        outer = torch.stack([F.pad(last.weight, (0, extra)) for _, last in layers])
        offset = torch.stack([last.bias for _, last in layers])
        hidden = F.gelu(F.linear(x, inner.flatten(0, 1), shift.flatten()))
        by_expert = hidden.unflatten(1, (len(self), -1)).transpose(0, 1)
        outputs = torch.baddbmm(offset.unsqueeze(1), by_expert, outer.transpose(1, 2))
        return outputs.transpose(0, 1)

    def _networks(self) -> list[nn.Sequential]:
        return [cast(nn.Sequential, network) for network in self]


def squared_variation(amounts: Tensor) -> Tensor:
    """Unbiased variance over squared mean along the last axis; zero where nothing can vary."""
    if amounts.shape[-1] == 1:
        return amounts.new_zeros(amounts.shape[:-1])
    return amounts.var(dim=-1) / (amounts.mean(dim=-1).square() + 1e-10)


def log_space_sum(outputs: Tensor, log_gates: Tensor) -> Tensor:
    """log sum_k g_k exp(E_k), [T, C], finite where exp alone overflows or vanishes.

    outputs: E [T, K, C]. log_gates: log g [T, K], minus infinity for an expert that has no say.
    """
    return torch.logsumexp(outputs + log_gates.unsqueeze(-1), dim=1)


class SpatialRouting(nn.Module):
    """Each pixel to K of M experts: [B, H, W, C] to [B, H, W, C], and the balance loss.

    The two forms differ in the gates and in how the experts' outputs are combined. dense: run every
    expert on every pixel, those not chosen with a gate of zero: the same result by M / K times the
    work, in steps whose sizes do not depend on the data. None does so on a GPU, whose host would
    wait for those sizes, and in an exported program, which cannot hold them; a CPU sorts the pixels
    by expert.
    """

    def __init__(self, channels: int, *, experts: int, top_k: int, gate_noise: bool) -> None:
        super().__init__()
        self.dense: bool | None = None
        self.describe = nn.Linear(INSTRUCTION_WIDTH, channels)
        self.router = Router(channels, experts, top_k, gate_noise=gate_noise)
        self.experts = Experts(channels, experts)

    def forward(
        self, x: Tensor, instruction: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        choice = self.router(x, self.describe(instruction), noise)
        log_gates = self.log_gates(choice)
        balance = self._balance(choice, log_gates.exp())
        pixels = x.flatten(0, 2)
        if self._is_dense(x):
            nobody = torch.full_like(choice.logits, -math.inf)
            of_all = nobody.scatter(1, choice.experts, log_gates)
            return self.combine(x, self.experts.everywhere(pixels), of_all), balance
        return self.combine(x, self.experts(pixels, choice.experts), log_gates), balance

    def _is_dense(self, x: Tensor) -> bool:
        return x.is_cuda or torch.compiler.is_exporting() if self.dense is None else self.dense

    def log_gates(self, choice: Choice) -> Tensor:
        """Log weight of each chosen expert: [T, K]."""
        raise NotImplementedError

    def combine(self, x: Tensor, outputs: Tensor, log_gates: Tensor) -> Tensor:
        """x [B, H, W, C] and what the experts say of it [T, K, C], as one image [B, H, W, C].

        log_gates: [T, K]; K is M where all have spoken.
        """
        raise NotImplementedError

    def _balance(self, choice: Choice, gates: Tensor) -> Tensor:
        """cv2(importance) + cv2(load) over the pixels of all workers' batches; a scalar."""
        all_gates = torch.zeros_like(choice.logits).scatter(1, choice.experts, gates)
        load = (all_gates > 0).sum(dim=0).to(gates.dtype) if choice.load is None else choice.load
        amounts = torch.stack([all_gates.sum(dim=0), load])
        if self.training:
            amounts = sum_over_workers(amounts)
        return squared_variation(amounts).sum()


class PublishedSpatialRouting(SpatialRouting):
    """x + log sum_e g_e exp(E_e(x)); the gates of the chosen experts sum to one."""

    def log_gates(self, choice: Choice) -> Tensor:
        return choice.logits.gather(1, choice.experts).log_softmax(dim=1)

    def combine(self, x: Tensor, outputs: Tensor, log_gates: Tensor) -> Tensor:
        return x + log_space_sum(outputs, log_gates).view_as(x)


class PaperSpatialRouting(SpatialRouting):
    """Eq. 2 and 3, sum_e g_e E_e(x); the gates are the largest of a softmax over all experts."""

    def log_gates(self, choice: Choice) -> Tensor:
        return choice.logits.log_softmax(dim=1).gather(1, choice.experts)

    def combine(self, x: Tensor, outputs: Tensor, log_gates: Tensor) -> Tensor:
        return torch.einsum("tk,tkc->tc", log_gates.exp(), outputs).view_as(x)


class WithoutExperts(nn.Module):
    """x + FC(instruction): a spatial routing whose experts are taken away. No balance loss."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.describe = nn.Linear(INSTRUCTION_WIDTH, channels)

    def forward(
        self, x: Tensor, instruction: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return x + self.describe(instruction)[:, None, None], x.new_zeros(())


class PublishedChannelRouting(nn.Module):
    """x + (gamma * x + beta) * sigmoid(FC(instruction)); the identity at the start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_factors = nn.Linear(INSTRUCTION_WIDTH, channels)
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, instruction: Tensor) -> Tensor:
        factors = self.to_factors(instruction).sigmoid()[:, None, None]
        return torch.addcmul(self.beta * factors, x, 1 + self.gamma * factors)


class PaperChannelRouting(nn.Module):
    """Eq. 4, x * sigmoid(FC(instruction)). [B, H, W, C] in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_factors = nn.Linear(INSTRUCTION_WIDTH, channels)

    def forward(self, x: Tensor, instruction: Tensor) -> Tensor:
        factors: Tensor = self.to_factors(instruction).sigmoid()[:, None, None]
        return x * factors


class WithoutChannelRouting(nn.Module):
    """Every channel as it is, whatever the instruction."""

    def forward(self, x: Tensor, instruction: Tensor) -> Tensor:
        return x


class Routing(NamedTuple):
    """The parts of one form of routing."""

    instruction: type[PublishedInstruction | PaperInstruction]
    activation: type[nn.Module]
    spatial: type[SpatialRouting]
    channel: type[PublishedChannelRouting | PaperChannelRouting]


ROUTINGS: dict[RoutingKind, Routing] = {
    "published": Routing(
        PublishedInstruction, nn.GELU, PublishedSpatialRouting, PublishedChannelRouting
    ),
    "paper": Routing(PaperInstruction, nn.Identity, PaperSpatialRouting, PaperChannelRouting),
}
