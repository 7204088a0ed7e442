"""Volumes for a viewer: one orientation, one byte order, two number types."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from amir.imaging.scan import Scan

_LEVEL = 1  # on loopback and in a hospital's network, packing takes longer than sending


def write_display_volume(scan: Scan, path: Path) -> None:
    """Write .nii.gz in RAS order, little-endian, sform set, int16 where all values are whole.

    float32 otherwise. The axes of an oblique scan are reordered, not resampled.
    """
    order = nibabel.orientations.io_orientation(scan.affine)
    voxels = nibabel.orientations.apply_orientation(scan.voxels, order)
    affine = scan.affine @ nibabel.orientations.inv_ornt_aff(order, scan.voxels.shape)
    header = nibabel.Nifti1Header(endianness="<")
    data = _compact(voxels)
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_sform(affine, code="scanner")
    header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    header.set_xyzt_units("mm")
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with gzip.open(path, "wb", compresslevel=_LEVEL) as file:
        file.write(header.binaryblock + struct.pack("<i", 0))
        file.write(data.tobytes(order="F"))


def _compact(voxels: NDArray[np.float32]) -> NDArray[np.int16] | NDArray[np.float32]:
    limits = np.iinfo(np.int16)
    inside = limits.min <= voxels.min() and voxels.max() <= limits.max
    if inside and np.array_equal(voxels, np.rint(voxels)):
        return voxels.astype("<i2")
    return voxels.astype("<f4")
