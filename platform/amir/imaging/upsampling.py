"""A scan of low resolution on a finer grid: k-space filled with zeros, as scanners interpolate.

The networks restore detail on the grid they are given, so a scan that was acquired on a small
matrix needs a larger one first. Nothing is added to the image: its k-space stays what it was, with
zeros around it. The field of view stays too, so the first voxel's centre moves towards its corner.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from amir.errors import InputError
from amir.imaging.planes import voxel_axes
from amir.imaging.scan import DicomSource, Scan, check_voxel_count
from amir.modality import Modality, Plane


def upsample(scan: Scan, factor: int, plane: Plane) -> Scan:
    """The magnitude of an MR scan's k-space, zero-filled to `factor` times the matrix of a plane.

    Spacing, affine and, of a DICOM series, Rows, Columns, PixelSpacing and ImagePositionPatient
    follow. The mean stays that of the scan, but for what the magnitude turns positive.
    InputError("wrong_modality") for CT and PET, whose pixels are no samples of a k-space;
    InputError("unsupported") for a DICOM series whose slices lie in another plane.
    """
    if scan.modality is not Modality.MRI:
        message = f"upsample is for MR, the scan is {scan.modality}; leave it out (none)"
        raise InputError("wrong_modality", message)
    order, _ = voxel_axes(scan.affine, plane)
    slice_axis, axes = order[0], order[1:]
    shape = [size * (factor if axis in axes else 1) for axis, size in enumerate(scan.voxels.shape)]
    check_voxel_count(shape, name=f"the scan upsampled by {factor}")
    source = scan.source
    affine = scan.affine.copy()
    for axis in axes:
        affine[:3, 3] += _shift(factor) * scan.affine[:3, axis]
        affine[:3, axis] /= factor
    if isinstance(source, DicomSource):
        if slice_axis != 2:
            message = (
                f"the series is not {plane}: upsampled in that plane it would have other slices; "
                "convert it to NIfTI first, or leave upsample out (none)"
            )
            raise InputError("unsupported", message)
        from amir.imaging.dicom.grid import finer_headers

        headers = finer_headers(source.slices, factor, shift=_shift(factor))
        source = replace(source, slices=headers, is_on_source_grid=False)
    voxels = scan.voxels
    for axis in axes:
        voxels = fill_with_zeros(voxels, factor, axis)
    return replace(scan, voxels=np.abs(voxels), affine=affine, source=source)


def fill_with_zeros(image: NDArray[np.float32], factor: int, axis: int) -> NDArray[np.float32]:
    """A real image with `factor` times the samples along an axis, over the same extent.

    Sample j of the result lies where j of a grid of that many voxels does, at (j + 1/2) / factor -
    1/2 of the old grid; a shift of the phase puts it there. The mean is kept. An even grid's
    unpaired line counts half for each sign.
    """
    size = image.shape[axis]
    spectrum = fft.rfft(image, axis=axis)
    line = np.arange(spectrum.shape[axis])
    weight = np.exp(2j * np.pi * line * _shift(factor) / size) * factor
    if size % 2 == 0 and factor > 1:
        weight[-1] /= 2
    along = [1] * image.ndim
    along[axis] = len(line)
    spectrum *= weight.astype(spectrum.dtype).reshape(along)
    return np.asarray(fft.irfft(spectrum, size * factor, axis=axis), image.dtype)


def _shift(factor: int) -> float:
    """Where the first of `factor` voxels lies that one is split into, in units of the one."""
    return 0.5 / factor - 0.5
