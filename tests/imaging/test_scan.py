from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from amir.errors import InputError
from amir.imaging import Scan
from amir.imaging.scan import MAX_VOXELS, check_voxel_count
from amir.modality import Modality


def test_a_scan_holds_float32_voxels_and_knows_its_spacing(make_scan):
    scan = make_scan(Modality.CT)
    assert scan.voxels.dtype == np.float32
    assert scan.spacing_mm == (1.5, 2.0, 3.0)


def test_other_voxels_keep_geometry_modality_and_unit(make_scan):
    scan = make_scan(Modality.CT)
    zeroed = scan.with_voxels(np.zeros_like(scan.voxels))
    assert (zeroed.affine is scan.affine, zeroed.modality, zeroed.unit) == (True, "CT", "HU")
    assert scan.voxels.any()


def test_voxels_of_another_shape_are_refused(make_scan):
    with pytest.raises(ValueError, match=r"\(2, 2, 2\)"):
        make_scan(Modality.CT).with_voxels(np.zeros((2, 2, 2)))


def test_nan_is_refused_and_counted(affine):
    voxels = np.zeros((2, 3, 4))
    voxels[0, 0, :2] = np.nan
    with pytest.raises(InputError, match="2 of 24") as caught:
        Scan(voxels, affine, Modality.CT, "HU")
    assert caught.value.code == "not_finite"


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2), (0, 4, 4)])
def test_only_volumes_are_scans(shape, affine):
    with pytest.raises(InputError) as caught:
        Scan(np.zeros(shape), affine, Modality.CT, "HU")
    assert caught.value.code == "unsupported"


def test_an_affine_that_flattens_the_volume_is_refused():
    with pytest.raises(InputError, match="singular"):
        Scan(np.zeros((2, 2, 2)), np.diag([1.0, 1.0, 0.0, 1.0]), Modality.CT, "HU")


def test_the_content_hash_of_a_synthetic_scan_follows_its_voxels(make_scan):
    scan = make_scan(Modality.CT)
    assert scan.content_hash == make_scan(Modality.CT).content_hash
    assert scan.content_hash != scan.with_voxels(scan.voxels + 1).content_hash


def test_a_volume_that_declares_too_many_voxels_is_refused_before_decoding():
    check_voxel_count((MAX_VOXELS, 1, 1), name="x")
    with pytest.raises(InputError) as caught:
        check_voxel_count((2**20, 2**20, 2**20, 2**20), name="x")
    assert caught.value.code == "too_large"


def test_a_scan_travels_between_processes(make_scan):
    scan = make_scan(Modality.PET)
    assert pickle.loads(pickle.dumps(scan)).content_hash == scan.content_hash


def test_importing_the_package_loads_neither_pydicom_nor_nibabel():
    code = "import sys, amir.imaging; sys.exit(bool({'pydicom', 'nibabel'} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}
        ).returncode
        == 0
    )
