"""What every network returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Restored(NamedTuple):
    """The restored image and what the network itself wants minimised; always both."""

    image: Tensor
    """[B, 1, H, W], like the degraded input: 0..1, not clipped."""

    auxiliary_loss: Tensor
    """A scalar; the balance loss of routed networks, zero for every other."""
