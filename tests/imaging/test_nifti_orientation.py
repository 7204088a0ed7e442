"""The same patient in any of a file's 48 orientations gives the same slices, plane by plane."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest

from amir.errors import InputError
from amir.imaging import read_scan, to_plane
from amir.modality import Modality, Plane

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
ORIENTATIONS = [
    np.array(list(zip(axes, signs, strict=True)))
    for axes in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]
# Tilted like a head in its coil, with voxels of three different sizes.
TILT = np.deg2rad(12.0)
AFFINE = nibabel.affines.from_matvec(
    np.array([[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]])
    @ np.diag([0.9, 1.1, 3.0]),
    [-30.0, 12.0, 5.0],
)


def volume() -> nibabel.Nifti1Image:
    voxels = np.random.default_rng(4).integers(-500, 2000, (5, 6, 7)).astype(np.int16)
    return nibabel.Nifti1Image(voxels, AFFINE)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_reorienting_a_file_leaves_its_slices_as_they_are(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan{suffix}"
    nibabel.save(volume(), path)
    straight = read_scan(path, modality=Modality.CT)
    expected = {plane: to_plane(straight, plane) for plane in PLANES}
    for orientation in ORIENTATIONS:
        nibabel.save(volume().as_reoriented(orientation), path)
        scan = read_scan(path, modality=Modality.CT)
        for plane, stack in expected.items():
            found = to_plane(scan, plane)
            np.testing.assert_array_equal(found.slices, stack.slices)
            assert found.spacing_mm == pytest.approx(stack.spacing_mm, rel=1e-5)


def test_a_marked_voxel_lies_where_the_patient_has_it(tmp_path: Path) -> None:
    voxels = np.zeros((5, 6, 7), np.float32)
    voxels[4, 5, 6] = 1  # right-most, front-most, top-most in RAS+ (x grows to the right)
    image = nibabel.Nifti1Image(voxels, np.diag([1.0, 1, 1, 1]))
    for orientation in ORIENTATIONS:
        nibabel.save(image.as_reoriented(orientation), tmp_path / "x_T1w.nii")
        stack = to_plane(read_scan(tmp_path / "x_T1w.nii"), "axial")
        assert np.argwhere(stack.slices).tolist() == [
            [6, 0, 0]
        ]  # top slice, front row, left column


@pytest.mark.parametrize(
    ("slope", "inter"), [(0.25, -10.0), (2.0, 0.0), (-1.0, 100.0), (1.0, -1024.0)]
)
def test_slope_and_intercept_hold_in_any_orientation(
    slope: float, inter: float, tmp_path: Path
) -> None:
    image = volume()
    stored = np.asarray(image.dataobj, np.float32)
    for orientation in ORIENTATIONS[::7]:
        turned = image.as_reoriented(orientation)
        turned.header.set_slope_inter(slope, inter)
        nibabel.save(turned, tmp_path / "x_ct.nii")
        stack = to_plane(read_scan(tmp_path / "x_ct.nii", modality=Modality.CT), "axial")
        straight = np.sort(stack.slices.ravel())
        np.testing.assert_allclose(straight, np.sort(stored.ravel() * slope + inter), rtol=1e-6)


def test_the_scanners_frame_is_used_where_a_file_has_two(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.asarray(volume().dataobj), np.diag([2.0, 2, 2, 1]))
    image.set_sform(AFFINE, code=1)
    image.set_qform(np.diag([2.0, 2, 2, 1]), code=1)
    nibabel.save(image, tmp_path / "x_T1w.nii")
    assert read_scan(tmp_path / "x_T1w.nii").spacing_mm == pytest.approx((0.9, 1.1, 3.0), rel=1e-5)


@pytest.mark.parametrize("fault", ["flat", "not a number"])
def test_an_affine_that_says_no_place_is_refused(fault: str, tmp_path: Path) -> None:
    image = volume()
    affine = AFFINE.copy()
    affine[:3, 2] = affine[:3, 1] if fault == "flat" else np.nan
    image.header.set_sform(affine, code=1)
    image.header.set_qform(None, code=0)
    with (tmp_path / "x_T1w.nii").open("wb") as file:
        image.header.write_to(file)
        file.write(b"\0" * 4 + np.asarray(image.dataobj).tobytes())
    with pytest.raises(InputError) as caught:
        read_scan(tmp_path / "x_T1w.nii")
    assert caught.value.code == "unreadable"
