"""Attention of a whole image for each of its tiles: summed over all tiles, then given to all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from amir.models.layers import PixelSums

Sums = tuple[Tensor, Tensor]


class TileAttention:
    """The channel attention of the networks normalises over the pixels it is given.

    Its ratios do not change when all sums are doubled, so tiles that overlap may both count what
    they share.
    """

    def __init__(self, network: nn.Module) -> None:
        self._modules = [module for module in network.modules() if isinstance(module, PixelSums)]
        self._known: dict[PixelSums, Sums] = {}

    @property
    def is_needed(self) -> bool:
        """Whether anything in the network looks at all pixels at once."""
        return bool(self._modules)

    @contextmanager
    def summing(self) -> Iterator[None]:
        """Tiles that run in this block see their own sums, or those known before; at its end, the
        sums over all of them are known.
        """
        totals: dict[PixelSums, Sums] = {}

        def add(module: PixelSums, _: object, own: Sums) -> Sums:
            known = totals.get(module)
            totals[module] = own if known is None else (known[0] + own[0], known[1] + own[1])
            return self._known.get(module, own)

        with self._hooked(add):
            yield
        self._known = totals

    @contextmanager
    def known(self) -> Iterator[None]:
        """Tiles that run in this block see the sums over all."""
        with self._hooked(lambda module, _, own: self._known.get(module, own)):
            yield

    @contextmanager
    def _hooked(self, hook: Callable[[PixelSums, object, Sums], Sums]) -> Iterator[None]:
        handles = [module.register_forward_hook(hook) for module in self._modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
