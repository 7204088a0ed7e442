"""Stacks of single slices, a file each, as the authors of AMIR release their data.

`.bin` files are pickled arrays, `.nii` files hold one two-dimensional image. Neither says where it
lies in the patient: the slices are taken to be cut in the plane of training, in the order given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.errors import InputError
from amir.imaging.array_pickle import read_array_pickle
from amir.imaging.planes import in_plane
from amir.imaging.scan import FileSource, Scan, check_voxel_count
from amir.modality import MODELLING_RANGES, TRAINING_PLANES, Modality

# (row, column, slice). The paper, section 3.1, states PET's voxels; of the others it says nothing.
SPACING_MM = {
    Modality.MRI: (1.0, 1.0, 1.0),
    Modality.CT: (1.0, 1.0, 1.0),
    Modality.PET: (3.15, 1.87, 3.15),
}


def is_slice_file(path: Path) -> bool:
    return path.suffix.lower() == ".bin"


def read_slice_files(paths: Sequence[Path], *, modality: Modality) -> Scan:
    """One slice from each file, stacked in the order given, in the modality's own unit.

    Geometry is nominal: spacing of the paper for PET, else 1 mm.
    """
    check_voxel_count((len(paths), *_read_slice(paths[0]).shape), name=paths[0].name)
    slices = [_read_slice(path) for path in paths]
    for path, image in zip(paths, slices, strict=True):
        if image.shape != slices[0].shape:
            raise InputError(
                "inconsistent",
                f"{path.name} is {image.shape}, {paths[0].name} is {slices[0].shape}; a stack "
                "needs slices of one size",
            )
    digests = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return in_plane(
        np.stack(slices),
        TRAINING_PLANES[modality],
        spacing_mm=SPACING_MM[modality],
        modality=modality,
        unit=MODELLING_RANGES[modality].unit,
        source=FileSource(digests),
    )


def _read_slice(path: Path) -> NDArray[np.float32]:
    """[H, W]: rows first, as SimpleITK and the authors' code have it."""
    image = read_array_pickle(path) if is_slice_file(path) else _read_flat_nifti(path)
    if sum(size > 1 for size in image.shape) != 2:
        raise InputError(
            "unsupported", f"{path.name} has shape {image.shape}, which is not one slice"
        )
    return np.asarray(image, np.float32).reshape([size for size in image.shape if size > 1])


def _read_flat_nifti(path: Path) -> NDArray[Any]:
    from amir.imaging.nifti import read_flat_nifti

    return read_flat_nifti(path)
