"""Pixels as bytes: 16-bit where nothing is lost, little-endian always."""

from __future__ import annotations

import numpy as np
import pytest

from amir.dataset.schema import pack, unpack


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([-1024, 0, 3071], "int16"),
        ([-32768, 32767], "int16"),
        ([0.0, 0.5], "float32"),
        ([0.0, 65535.0], "uint16"),
        ([0.0, 65536.0], "float32"),
        ([-1.0, 32768.0], "float32"),
        ([-32769.0, 1.0], "float32"),
        ([np.nan, 1.0], "float32"),
    ],
)
def test_pixels_come_back_exactly_in_the_smaller_type(values: list[float], dtype: str) -> None:
    image = np.array([values], np.float32)
    data, stored = pack(image)
    assert stored == dtype
    assert len(data) == image.size * (4 if dtype == "float32" else 2)
    np.testing.assert_array_equal(unpack(data, stored, *image.shape), image)


def test_bytes_are_little_endian_and_rows_first() -> None:
    data, _ = pack(np.array([[1, 2], [256, 3]], np.float32))
    assert data == bytes([1, 0, 2, 0, 0, 1, 3, 0])
