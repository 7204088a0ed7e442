"""What the routing of a network did with an image, read off without touching what it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amir.dataset.slices import SlicePair
from amir.errors import InputError
from amir.inference.expert_counts import level_name
from amir.inference.restorer import Restorer
from amir.models.routing import (
    Choice,
    PaperChannelRouting,
    PublishedChannelRouting,
    SpatialRouting,
)

Image = NDArray[np.float32]
CHANNEL_ROUTINGS = (PublishedChannelRouting, PaperChannelRouting)


@dataclass(frozen=True, eq=False)
class SpatialRecord:
    """What one spatial routing module decided for one image of h x w pixels.

    experts: int [h, w, K], best first. gates: [h, w, M], zero for experts that were not asked.
    entropy: [h, w], of the softmax over all M logits, 0 (certain) to 1 (all alike).
    """

    experts: NDArray[np.int64]
    gates: Image
    entropy: Image

    @property
    def asked(self) -> NDArray[np.bool_]:
        """[h, w, M]: whether an expert saw a pixel; K of them are true for each."""
        every = np.arange(self.gates.shape[-1])
        asked: NDArray[np.bool_] = (self.experts[..., None] == every).any(axis=2)
        return asked


@dataclass(frozen=True, eq=False)
class SliceRouting:
    """The path of one slice. spatial: by level name. masks: [C] in 0..1, by level name.

    instruction: [256], None in a network that has none. restored: [H, W], physical units.
    """

    pair: SlicePair
    restored: Image
    spatial: Mapping[str, SpatialRecord]
    masks: Mapping[str, Image]
    instruction: Image | None


class RoutingRecorder:
    """Collects what the hooks see in the latest forward, by the modules' paths in the network."""

    def __init__(self) -> None:
        self.choices: dict[str, tuple[SpatialRouting, torch.Size, Choice]] = {}
        self.masks: dict[str, Tensor] = {}
        self.instruction: Tensor | None = None

    def spatial(self, image: int = 0) -> dict[str, SpatialRecord]:
        """By level, what was decided for one image of the batch."""
        return {
            level_name(path): _record(module, shape, choice, image)
            for path, (module, shape, choice) in self.choices.items()
        }

    def channels(self, image: int = 0) -> dict[str, Image]:
        """By level, the channel mask of one image of the batch: [C]."""
        return {level_name(path): _array(mask[image]) for path, mask in self.masks.items()}


@contextmanager
def record_routing(network: nn.Module) -> Iterator[RoutingRecorder]:
    """Watch the routing modules of a network while the block runs.

    The hooks return nothing, so outputs are the same to the bit. InputError for a network without
    any routing.
    """
    recorder = RoutingRecorder()
    handles = []
    try:
        for path, module in network.named_modules():
            handles += _watch(recorder, path, module)
        if not handles:
            raise InputError(
                "invalid_setting",
                f"{type(network).__name__} has no routing to look into; choose a routed network "
                "such as amir",
            )
        yield recorder
    finally:
        for handle in handles:
            handle.remove()


def route_slice(restorer: Restorer, pair: SlicePair) -> SliceRouting:
    """Restore a slice on the one restoration path and read off its routing.

    The maps are cut to the slice: what was padded does not count.
    """
    with record_routing(restorer.model) as recorder:
        restored = restorer.restore_slice(pair.degraded, pair.modality, scale=pair.scale)
    instruction = recorder.instruction
    return SliceRouting(
        pair=pair,
        restored=restored,
        spatial={
            name: _cut(record, pair.degraded.shape, 2**level)
            for level, (name, record) in enumerate(recorder.spatial().items())
        },
        masks=recorder.channels(),
        instruction=None if instruction is None else _array(instruction[0]),
    )


def _watch(recorder: RoutingRecorder, path: str, module: nn.Module) -> list[Any]:
    if isinstance(module, SpatialRouting):

        def keep_choice(_: nn.Module, inputs: Any, choice: Choice) -> None:
            recorder.choices[path] = module, inputs[0].shape, choice

        return [module.router.register_forward_hook(keep_choice)]
    if isinstance(module, CHANNEL_ROUTINGS):

        def keep_mask(_: nn.Module, inputs: Any, factors: Tensor) -> None:
            recorder.masks[path] = factors.detach().sigmoid()

        return [module.to_factors.register_forward_hook(keep_mask)]
    if path == "instruction":

        def keep_instruction(_: nn.Module, inputs: Any, instruction: Any) -> None:
            first = instruction if isinstance(instruction, Tensor) else instruction[0]
            recorder.instruction = first.detach()

        return [module.register_forward_hook(keep_instruction)]
    return []


def _record(module: SpatialRouting, shape: torch.Size, choice: Choice, image: int) -> SpatialRecord:
    batch, height, width = shape[:3]
    log_gates = module.log_gates(choice)
    gates = torch.zeros_like(choice.logits).scatter(1, choice.experts, log_gates.exp())
    log_shares = choice.logits.log_softmax(dim=1)
    # At least log 2, so that a single expert has entropy zero, not nan.
    most = np.log(max(2, choice.logits.shape[1]))
    entropy = -(log_shares.exp() * log_shares).sum(dim=1) / most

    def of_image(rows: Tensor) -> NDArray[Any]:
        return _array(rows.view(batch, height, width, *rows.shape[1:])[image])

    return SpatialRecord(of_image(choice.experts), of_image(gates), of_image(entropy))


def _cut(record: SpatialRecord, shape: tuple[int, ...], factor: int) -> SpatialRecord:
    rows, columns = (-(-size // factor) for size in shape)
    return SpatialRecord(
        record.experts[:rows, :columns],
        record.gates[:rows, :columns],
        record.entropy[:rows, :columns],
    )


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array
