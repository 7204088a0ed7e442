"""One Parquet row: a pair of slices in physical units, and what is needed to use and to trace them.

Pixels are raw little-endian bytes beside their height, width and type: many times faster to read
than list columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# A full shuffle reads whole row groups: small ones waste less. Another number is another format.
ROWS_PER_GROUP = 8
PIXELS = ("target", "degraded")
WHOLE_TYPES = ("int16", "uint16")

SCHEMA = pa.schema(
    [
        ("patient_id", pa.string()),
        ("scan_id", pa.string()),
        ("modality", pa.string()),
        ("slice_index", pa.int32()),
        ("plane", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("spacing_mm", pa.list_(pa.float64(), 2)),
        ("unit", pa.string()),
        ("intensity_scale", pa.float64()),
        ("target", pa.binary()),
        ("target_dtype", pa.string()),
        ("degraded", pa.binary()),
        ("degraded_dtype", pa.string()),
        ("degradation", pa.string()),
    ]
)


def pack(image: NDArray[np.float32]) -> tuple[bytes, str]:
    """Pixels as bytes and their type: 16-bit integers where that loses nothing, else float32."""
    for name in WHOLE_TYPES:
        limits = np.iinfo(name)
        if image.size and image.min() >= limits.min and image.max() <= limits.max:
            whole = image.astype(np.dtype(name).newbyteorder("<"))
            if np.array_equal(whole, image):
                return whole.tobytes(), name
    return image.astype("<f4").tobytes(), "float32"


def unpack(data: bytes, dtype: str, height: int, width: int) -> NDArray[Any]:
    """The [height, width] pixels of a packed slice, in their stored type, read-only."""
    return np.frombuffer(data, stored_type(dtype)).reshape(height, width)


def stored_type(dtype: str) -> np.dtype[Any]:
    """The type of pixels in a shard by the name that stands beside them."""
    return np.dtype(dtype).newbyteorder("<")
