"""Write a synthetic scan as an original classic CT, MR or PET series that DICOM validators accept.

Everything in it follows from the scan and the arguments: the same call gives the same bytes. PET is
written in Bq/ml of an invented injection, so that reading gives the same SUV back.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from amir.durable import new_folder
from amir.imaging.dicom.phantom_header import ACTIVITY_PER_SUV, lps, phantom_header
from amir.imaging.dicom.store import (
    StoredSlice,
    decimals,
    save_slice,
    set_pixels,
    slope_for,
    store_with,
)
from amir.imaging.dicom.uid import uid_from_text
from amir.imaging.scan import Scan
from amir.modality import Modality


def write_new_series(
    scan: Scan, folder: Path, *, patient_id: str, description: str = "", seed: int = 0
) -> int:
    """One file per slice along the third voxel axis; the first becomes columns, the second rows.

    CT is rounded to whole HU, MR to whole numbers from 0 to 65535, PET to 1/65535 of the slice's
    maximum. Reading gives the voxels back in the same order when the affine's determinant is
    positive, else with slices reversed. seed: another one gives other identifiers. Returns how
    many voxels were saturated.
    """
    root = (patient_id, description, str(seed), scan.content_hash)
    shared = phantom_header(scan, patient_id=patient_id, description=description, root=root)
    saturated = 0
    with new_folder(folder) as beside:
        for index in range(scan.voxels.shape[2]):
            dataset = _slice_header(scan, shared, index, root)
            stored = _store(scan, dataset, index)
            set_pixels(dataset, stored)
            save_slice(dataset, beside / f"{index + 1:04d}.dcm")
            saturated += stored.saturated
    return saturated


def _slice_header(scan: Scan, shared: Dataset, index: int, root: tuple[str, ...]) -> Dataset:
    dataset = copy.deepcopy(shared)
    dataset.SOPInstanceUID = uid_from_text("instance", *root, str(index))
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = decimals(lps(scan.affine @ [0, 0, index, 1])[:3])
    if scan.modality is Modality.PET:
        dataset.ImageIndex = index + 1
    return dataset


def _store(scan: Scan, dataset: Dataset, index: int) -> StoredSlice:
    voxels = scan.voxels[:, :, index].T.astype(np.float64)
    if scan.modality is Modality.PET:
        voxels *= ACTIVITY_PER_SUV
        slope = slope_for(voxels, is_signed=dataset.PixelRepresentation == 1)
        dataset.RescaleSlope = slope
        return store_with(voxels, (float(str(slope)), 0.0), dataset)
    return store_with(voxels, (1.0, -1024.0 if scan.modality is Modality.CT else 0.0), dataset)
