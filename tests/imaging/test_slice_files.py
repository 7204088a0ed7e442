"""Stacks of single slices come out as the slices that went in, whatever wrote them."""

from __future__ import annotations

import pickle
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from amir.errors import InputError
from amir.imaging import read_slice_files, to_plane
from amir.modality import TRAINING_PLANES, Modality

SLICES = np.random.default_rng(1).normal(size=(3, 6, 4)).astype(np.float32)


def written(folder: Path, kind: str) -> list[Path]:
    """The slices as the authors' files are: tensors [1, H, W], or images that SimpleITK wrote."""
    paths = [folder / f"a_{k}.{kind}" for k in range(len(SLICES))]
    for path, image in zip(paths, SLICES, strict=True):
        if kind == "bin":
            path.write_bytes(pickle.dumps(torch.from_numpy(image[None])))
        else:
            nibabel.save(nibabel.Nifti1Image(image.T, np.eye(4)), path)
    return paths


@pytest.mark.parametrize("modality", Modality)
@pytest.mark.parametrize("kind", ["bin", "nii"])
def test_slices_come_back_in_the_plane_of_training(
    kind: str, modality: Modality, tmp_path: Path
) -> None:
    scan = read_slice_files(written(tmp_path, kind), modality=modality)
    stack = to_plane(scan, TRAINING_PLANES[modality])
    np.testing.assert_array_equal(stack.slices, SLICES)
    assert stack.spacing_mm == pytest.approx(
        (3.15, 1.87, 3.15) if modality is Modality.PET else (1, 1, 1)
    )


def test_what_is_no_single_slice_is_refused(tmp_path: Path) -> None:
    first, second, third = written(tmp_path, "bin")
    second.write_bytes(pickle.dumps(np.zeros((6, 5), np.float32)))
    with pytest.raises(InputError, match=r"a_1.bin is \(6, 5\), a_0.bin is \(6, 4\)"):
        read_slice_files([first, second], modality=Modality.CT)
    third.write_bytes(pickle.dumps(np.zeros((2, 6, 5), np.float32)))
    with pytest.raises(InputError, match="which is not one slice") as caught:
        read_slice_files([third], modality=Modality.CT)
    assert caught.value.code == "unsupported"
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 4, 3)), np.eye(4)), tmp_path / "v_1.nii")
    with pytest.raises(InputError, match=r"v_1.nii has shape \(5, 4, 3\), which is not one slice"):
        read_slice_files([tmp_path / "v_1.nii"], modality=Modality.MRI)
