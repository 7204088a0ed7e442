"""Padding to what the networks take, and its inverse."""

from __future__ import annotations

import numpy as np
import pytest

from amir.inference.padding import crop, pad

SIZES = [(1, 1), (1, 40), (7, 9), (16, 16), (17, 24), (192, 400), (255, 3)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_sides_become_multiples_of_eight_of_at_least_sixteen(height: int, width: int) -> None:
    slices = np.random.default_rng(0).random((2, height, width), np.float32)
    padded = pad(slices)
    assert padded.dtype == np.float32
    for before, after in zip((height, width), padded.shape[1:], strict=True):
        assert after % 8 == 0
        assert max(16, before) <= after < max(16, before) + 8
    np.testing.assert_array_equal(crop(padded, height, width), slices)


def test_what_fits_is_left_alone() -> None:
    slices = np.ones((1, 24, 32), np.float32)
    assert pad(slices).shape == slices.shape


def test_rows_and_columns_are_reflected_at_the_far_edges() -> None:
    ramp = np.arange(20 * 21, dtype=np.float32).reshape(1, 20, 21)
    padded = pad(ramp)
    np.testing.assert_array_equal(padded[0, 20:], padded[0, 18:14:-1])
    np.testing.assert_array_equal(padded[0, :, 21:], padded[0, :, 19:16:-1])
