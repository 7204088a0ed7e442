"""What the network tests share: weights made by formula, and the published goldens' tiny AMIR."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor


def hash_uniform(name: str, count: int) -> NDArray[np.float64]:
    """`count` numbers in [-1, 1) from a name: MurmurHash3's finaliser over a Weyl sequence."""
    word = 0xFFFFFFFF
    numbers = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B1)
    numbers = (numbers + np.uint64(zlib.crc32(name.encode()))) & np.uint64(word)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        numbers ^= numbers >> np.uint64(shift)
        numbers = numbers * np.uint64(factor) & np.uint64(word)
    numbers ^= numbers >> np.uint64(16)
    return numbers / 2.0**31 - 1.0


def centre_and_amplitude(key: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """The golden folder's rule: by the last part of a published key, else variance 1 / fan-in."""
    last = key.rpartition(".")[2]
    by_name = {
        "temperature": (1.0, 0.5),
        "hidden": (1.0, 0.5),
        "dictionary": (0.0, 1.0),
        "gamma": (0.0, 0.5),
        "beta": (0.0, 0.5),
        "lambda_dw": (0.0, 0.5),
        "dw_kernel": (0.0, math.sqrt(3 / 9)),
        "relative_position_bias_table": (0.0, 0.1),
    }
    if last in by_name:
        return by_name[last]
    if last in ("w_gate", "w_noise"):
        return 0.0, math.sqrt(3 / shape[0])
    if len(shape) <= 1:
        return (1.0, 0.2) if last == "weight" else (0.0, 0.1)
    return 0.0, math.sqrt(3 * shape[0] / math.prod(shape))


@pytest.fixture(scope="session")
def formula_weight() -> Callable[[str, tuple[int, ...]], Tensor]:
    """formula_weight(published key, shape): the weight that the `_full` goldens were made with."""

    def weight(key: str, shape: tuple[int, ...]) -> Tensor:
        centre, amplitude = centre_and_amplitude(key, shape)
        values = centre + amplitude * hash_uniform(key, math.prod(shape))
        return torch.from_numpy(values.astype(np.float32).reshape(shape))

    return weight


@pytest.fixture(scope="session")
def formula_image() -> Callable[[str, tuple[int, ...]], Tensor]:
    """formula_image(name, shape): a smooth pattern with hash noise, in [0, 1)."""

    def image(name: str, shape: tuple[int, ...]) -> Tensor:
        noise = (hash_uniform(f"image.{name}", math.prod(shape)).reshape(shape) + 1) / 2
        y = np.arange(shape[-2])[:, None] / shape[-2]
        x = np.arange(shape[-1])[None] / shape[-1]
        waves = np.sin(2 * np.pi * (2 * y + 3 * x)) + np.cos(2 * np.pi * (3 * y - x))
        return torch.from_numpy((0.3 * noise + 0.7 * (0.5 + 0.25 * waves)).astype(np.float32))

    return image
