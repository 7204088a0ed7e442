"""Volumes of numbers that no scanner writes, and of sizes that few do, as NIfTI files."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from amir.modality import MODELLING_RANGES, Modality

_SHAPE = (24, 20, 3)
_SINGLE = {
    "NaN": np.nan,
    "infinite": np.inf,
    "minus infinite": -np.inf,
    "3e38": 3e38,
    "-3e38": -3e38,
}
_ALL = {
    "all NaN": np.nan,
    "all zero": 0.0,
    "all one": 1.0,
    "all negative": -50.0,
    "all below every range": -5000.0,
    "all above every range": 50_000.0,
    "all 1e-40": 1e-40,
    "all 1e-20": 1e-20,
    "all 1e20": 1e20,
    "all 3e38": 3e38,
    "all -3e38": -3e38,
}


def strange_volumes() -> Iterator[tuple[str, Modality, bytes]]:
    """(what is strange, modality, .nii.gz); the voxels around single numbers are sound."""
    for modality in Modality:
        sound = sound_voxels(modality, _SHAPE)
        for name, value in _SINGLE.items():
            voxels = sound.copy()
            voxels[3, 4, 1] = value
            yield f"{modality}: one {name}", modality, nifti(voxels)
        for name, value in _ALL.items():
            yield f"{modality}: {name}", modality, nifti(np.full(_SHAPE, value, np.float32))
        yield f"{modality}: noise of both signs", modality, nifti(_noise(_SHAPE) - np.float32(0.5))


def sound_voxels(modality: Modality, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Noise in the middle of the modelling range, in air."""
    limits = MODELLING_RANGES[modality]
    voxels = np.full(shape, limits.lower, np.float32)
    inner = tuple(slice(size // 4, size - size // 4) for size in shape[:2])
    voxels[inner] += (0.2 + 0.3 * _noise(voxels[inner].shape)) * np.float32(limits.span)
    return voxels


def nifti(voxels: NDArray[np.float32]) -> bytes:
    """A packed NIfTI-1 file of float32 voxels [X, Y, Z] of 2 mm; written here, byte by byte, so
    that a fault of the library that reads it is not hidden by the same fault in writing.
    """
    content = header(voxels.shape) + voxels.tobytes(order="F")
    return gzip.compress(content, compresslevel=1, mtime=0)


def header(shape: tuple[int, ...]) -> bytes:
    """What stands before the voxels."""
    fields = bytearray(352)
    struct.pack_into("<i", fields, 0, 348)
    struct.pack_into("<8h", fields, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", fields, 70, 16, 32)
    struct.pack_into("<8f", fields, 76, 1, 2, 2, 2, 0, 0, 0, 0)
    struct.pack_into("<3f", fields, 108, 352, 1, 0)
    struct.pack_into("<b", fields, 123, 2)
    struct.pack_into("<h", fields, 254, 1)
    struct.pack_into("<12f", fields, 280, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0)
    struct.pack_into("<4s", fields, 344, b"n+1\0")
    return bytes(fields)


def _noise(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(5).random(shape, np.float32)
