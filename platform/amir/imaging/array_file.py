"""NumPy's .npy files: slices that come without a header, in the plane of training."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.errors import InputError
from amir.imaging.planes import in_plane, to_plane
from amir.imaging.scan import ArraySource, Scan, check_voxel_count
from amir.imaging.slice_files import SPACING_MM
from amir.modality import MODELLING_RANGES, TRAINING_PLANES, Modality


def is_array_file(path: Path) -> bool:
    return path.suffix.lower() == ".npy"


def read_array_file(
    path: Path, *, modality: Modality, max_voxels: int, unit: str | None = None
) -> Scan:
    """A slice [H, W] or slices [n, H, W] of real numbers; nothing is ever unpickled.

    unit: by default HU, SUV or a.u. by modality. Geometry is nominal, as of `slice_files`.
    """
    values = _mapped(path)
    if values.dtype.kind not in "iuf" or values.ndim not in (2, 3):
        raise InputError(
            "unsupported",
            f"{path.name} holds {values.dtype} of shape {values.shape}; give real numbers "
            "[H, W] or [n, H, W]",
        )
    check_voxel_count(values.shape, name=path.name, limit=max_voxels)
    if values.size == 0:
        raise InputError("empty", f"{path.name} has shape {values.shape}, which is no voxel")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return in_plane(
        values.reshape(-1, *values.shape[-2:]).astype(np.float32),
        TRAINING_PLANES[modality],
        spacing_mm=SPACING_MM[modality],
        modality=modality,
        unit=unit or MODELLING_RANGES[modality].unit,
        source=ArraySource(values.ndim, (digest,)),
    )


def save_array(scan: Scan, path: Path) -> None:
    """Slices [n, H, W] of the plane of training as float32, or [H, W] where it was read so."""
    slices = to_plane(scan, TRAINING_PLANES[scan.modality]).slices
    is_one = isinstance(scan.source, ArraySource) and scan.source.axes == 2
    with path.open("wb") as file:
        np.save(file, slices[0] if is_one else slices, allow_pickle=False)


def _mapped(path: Path) -> NDArray[Any]:
    """The array, of which nothing has been read; a file shorter than it declares is refused."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, EOFError):
        reason = "it cannot be opened"
    except Exception as error:  # NumPy's header is a literal of Python, wrong in many ways
        reason = type(error).__name__
    raise InputError(
        "unreadable", f"{path.name} is not a complete .npy file ({reason}); save it again"
    )
