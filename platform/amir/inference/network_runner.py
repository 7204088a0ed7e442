"""One network on one device: padded images in, restored images out, and what the routing did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amir.config import Precision, TileSettings
from amir.inference.expert_counts import ExpertCounts
from amir.inference.tile_attention import TileAttention
from amir.inference.tiling import Blending, Window, windows
from amir.inference.transfer import to_device, to_host

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


class NetworkRunner:
    """network: of the contract, in evaluation mode; it is moved to the device and belongs to this.

    Images of more pixels than a tile may have are restored in tiles, with one instruction.
    one_by_one: a forward for each image of a batch. Rounding depends on the size of a batch, and a
    pixel on the border between two experts may then change sides; so nothing depends on whose
    slices came along. On a CPU it costs next to nothing.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        tile: TileSettings | None = None,
        compiled: bool = False,
        one_by_one: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.precision = precision
        self.tile = tile or TileSettings()
        self.one_by_one = one_by_one
        self._network = network.to(self.device)
        self._counts = ExpertCounts(self._network)
        self._instruct = network.instruct if isinstance(network, Instructed) else None
        self._call: Callable[..., tuple[Tensor, Tensor]] = self._network
        if compiled and self.device.type == "cuda":
            self._call = torch.compile(self._network)

    @torch.inference_mode()
    def run(self, images: Images, *, alive: Callable[[], None] = lambda: None) -> Passed:
        """images: [B, h, w] in 0..1, padded. alive: called before each forward."""
        with self._precision():
            if images.shape[1] * images.shape[2] > self.tile.pixels:
                return _joined([self._tiled(image, alive) for image in images])
            parts = np.split(images, len(images)) if self.one_by_one else [images]
            return _joined([self._whole(part, alive) for part in parts])

    def _whole(self, images: Images, alive: Callable[[], None]) -> Passed:
        alive()
        return self._forward(images, self._instruction(images))

    def _forward(self, images: Images, instruction: Tensor | None) -> Passed:
        self._counts.clear()
        known = {} if instruction is None else {"instruction": instruction}
        restored, _ = self._call(self._on_device(images), **known)
        shares = self._counts.shares(len(images))
        arrays = to_host([restored[:, 0], *known.values(), *shares.values()])
        use = dict(zip(shares, arrays[1 + len(known) :], strict=True))
        return Passed(arrays[0], arrays[1] if known else None, use)

    def _instruction(self, images: Images) -> Tensor | None:
        return None if self._instruct is None else self._instruct(self._on_device(images))

    def _tiled(self, image: Images, alive: Callable[[], None]) -> Passed:
        height, width = image.shape
        instruction = self._instruction(image[None])
        attention = TileAttention(self._network)
        blending, use = Blending(height, width, overlap=self.tile.overlap), []

        def run_tiles() -> Iterator[tuple[Window, Passed]]:
            for window in windows(
                height, width, pixels=self.tile.pixels, overlap=self.tile.overlap
            ):
                alive()
                yield window, self._forward(image[None][:, *window], instruction)

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

    def _precision(self) -> AbstractContextManager[object]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


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
