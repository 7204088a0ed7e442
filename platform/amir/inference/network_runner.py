"""One network on one device: padded images in, restored images out, and what the routing did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amir.config import Precision, TileSettings
from amir.config.section import Kernels
from amir.inference.expert_counts import ExpertCounts
from amir.inference.tile_attention import TileAttention
from amir.inference.tiling import Blending, Window, windows
from amir.inference.transfer import to_device, to_host
from amir.models.compiling import compiled_twin
from amir.models.cuda_graphs import GraphByShape
from amir.models.economy import choose_precision
from amir.models.kernel_choice import choose_kernels

Images = NDArray[np.float32]


@runtime_checkable
class Instructed(Protocol):
    """A network whose instruction averages over the whole image: tiles share their slice's."""

    def instruct(self, degraded: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Passed:
    """What a batch of B images became.

    images: [B, h, w] in 0..1, not clipped. instruction: [B, 256], None in a network without one.
    expert_use: by level [B, M], the share of the pixels that each expert saw; empty if not routed.
    """

    images: Images
    instruction: Images | None
    expert_use: Mapping[str, Images]


class Outcome(NamedTuple):
    """`Passed`, still on the device."""

    images: Tensor
    instruction: Tensor | None
    expert_use: dict[str, Tensor]

    def first(self, number: int) -> Outcome:
        """Of so many images; what was added to fill the batch is left out."""
        told = None if self.instruction is None else self.instruction[:number]
        use = {level: share[:number] for level, share in self.expert_use.items()}
        return Outcome(self.images[:number], told, use)

    def passed(self) -> Passed:
        """On the host."""
        told = [] if self.instruction is None else [self.instruction]
        arrays = to_host([self.images, *told, *self.expert_use.values()])
        use = dict(zip(self.expert_use, arrays[1 + len(told) :], strict=True))
        return Passed(arrays[0], arrays[1] if told else None, use)


class Forward:
    """A network and what is counted beside it: images [B, 1, h, w] on its device to an Outcome."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._counts = ExpertCounts(network)
        self._instruct = network.instruct if isinstance(network, Instructed) else None

    def instruct(self, images: Tensor) -> Tensor | None:
        return None if self._instruct is None else self._instruct(images)

    def __call__(self, images: Tensor, instruction: Tensor | None = None) -> Outcome:
        self._counts.clear()
        instruction = self.instruct(images) if instruction is None else instruction
        known = {} if instruction is None else {"instruction": instruction}
        restored, _ = self.network(images, **known)
        return Outcome(restored[:, 0], instruction, self._counts.shares(len(images)))


class NetworkRunner:
    """network: of the contract, in evaluation mode; it is moved to the device and belongs to this.

    Images of more pixels than a tile may have are restored in tiles, with one instruction.
    one_by_one: a forward for each image of a batch. Rounding depends on the size of a batch, and a
    pixel on the border between two experts may then change sides; so nothing depends on whose
    slices came along. On a CPU it costs next to nothing. usual: sizes of padded images; on a GPU,
    `compiled` and `graphs` (see EngineSettings) hold for these alone, in batches filled up to a
    power of two; any other goes through the network as it is.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        tile: TileSettings | None = None,
        kernels: Kernels = "eager",
        compiled: bool = False,
        graphs: bool = False,
        usual: Iterable[tuple[int, int]] = (),
        one_by_one: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.precision = precision
        self.tile = tile or TileSettings()
        self.one_by_one = one_by_one
        self._graphs = graphs and self.device.type == "cuda"
        network = network.to(self.device)
        choose_kernels(network, kernels)
        choose_precision(network, precision)
        compiled = compiled and self.device.type == "cuda"
        self._usual = frozenset(usual) if compiled or self._graphs else frozenset()
        fast = Forward(compiled_twin(network) if compiled else network)
        self._fast: Callable[[Tensor], Outcome] = GraphByShape(fast) if self._graphs else fast
        self._forward = Forward(network) if compiled else fast

    @torch.inference_mode()
    def run(self, images: Images, *, alive: Callable[[], None] = lambda: None) -> Passed:
        """images: [B, h, w] in 0..1, padded. alive: called before each forward."""
        if images.shape[1] * images.shape[2] > self.tile.pixels:
            return _joined([self._tiled(image, alive) for image in images])
        parts = np.split(images, len(images)) if self.one_by_one else [images]
        return _joined([self._whole(part, alive) for part in parts])

    def batches(self, size: tuple[int, int], most: int) -> list[int]:
        """Numbers of images of this size whose first forward takes longer than any later one."""
        return [2**n for n in range(filled(most).bit_length())] if size in self._usual else [1]

    def _whole(self, images: Images, alive: Callable[[], None]) -> Passed:
        alive()
        if images.shape[1:] not in self._usual:
            return self._forward(self._on_device(images)).passed()
        missing = filled(len(images)) - len(images)
        full = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        return self._fast(self._on_device(full)).first(len(images)).passed()

    def _tiled(self, image: Images, alive: Callable[[], None]) -> Passed:
        height, width = image.shape
        instruction = self._forward.instruct(self._on_device(image[None]))
        attention = TileAttention(self._forward.network)
        blending, use = Blending(height, width, overlap=self.tile.overlap), []

        def run_tiles() -> Iterator[tuple[Window, Passed]]:
            for window in windows(
                height, width, pixels=self.tile.pixels, overlap=self.tile.overlap
            ):
                alive()
                tile = self._on_device(image[None][:, *window])
                yield window, self._forward(tile, instruction).passed()

        for _ in range(self.tile.passes if attention.is_needed else 0):
            with attention.summing():
                for _ in run_tiles():
                    pass
        with attention.known():
            for window, passed in run_tiles():
                blending.add(window, passed.images[0])
                use.append(passed.expert_use)
        return Passed(
            blending.image()[None],
            None if instruction is None else to_host([instruction])[0],
            {level: np.mean([u[level] for u in use], axis=0) for level in use[0]},
        )

    def _on_device(self, images: Images) -> Tensor:
        return to_device(torch.from_numpy(np.ascontiguousarray(images))[:, None], self.device)


def filled(number: int) -> int:
    """The power of two that holds so many images."""
    return 1 << (number - 1).bit_length()


def _joined(passes: list[Passed]) -> Passed:
    first = passes[0]
    if len(passes) == 1:
        return first
    instructions = [p.instruction for p in passes if p.instruction is not None]
    return Passed(
        np.concatenate([p.images for p in passes]),
        np.concatenate(instructions) if instructions else None,
        {
            level: np.concatenate([p.expert_use[level] for p in passes])
            for level in first.expert_use
        },
    )
