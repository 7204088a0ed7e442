from __future__ import annotations

import numpy as np
import pydicom
import pytest

from amir.errors import InputError
from amir.imaging import Scan, read_scan, write_new_series
from amir.modality import Modality


@pytest.mark.parametrize("modality", Modality)
def test_a_new_series_reads_back_as_the_scan_it_was_made_from(tmp_path, modality, make_scan):
    scan = make_scan(modality)
    assert write_new_series(scan, tmp_path / "s", patient_id="phantom-1") == 0
    back = read_scan(tmp_path / "s")
    per_slice = scan.voxels.max(axis=(0, 1))
    tolerance = 1e-5 * per_slice if modality is Modality.PET else np.zeros(5)
    assert (np.abs(back.voxels - scan.voxels).max(axis=(0, 1)) <= tolerance).all()
    assert np.allclose(back.affine, scan.affine)
    assert (back.modality, back.unit) == (scan.modality, scan.unit)


def test_oblique_and_mirrored_scans_keep_every_voxel_in_its_place(tmp_path, make_scan, affine):
    angle = np.radians(25)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ affine @ np.diag([1.0, -1.0, 1.0, 1.0])
    scan = Scan(make_scan(Modality.CT).voxels, affine, Modality.CT, "HU")
    write_new_series(scan, tmp_path / "s", patient_id="phantom-1")
    back = read_scan(tmp_path / "s")
    # A left-handed volume comes back with its slices reversed.
    assert np.array_equal(back.voxels, scan.voxels[:, :, ::-1])
    last = scan.voxels.shape[2] - 1
    assert np.allclose(back.affine @ [3, 4, 0, 1], scan.affine @ [3, 4, last, 1])


def test_the_same_call_gives_the_same_bytes_and_another_seed_other_identifiers(tmp_path, make_scan):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_new_series(
            make_scan(Modality.PET), tmp_path / name, patient_id="phantom-1", seed=seed
        )
    first, again, other = ((tmp_path / name / "0001.dcm").read_bytes() for name in "abc")
    assert first == again
    uids = {pydicom.dcmread(tmp_path / n / "0001.dcm").SeriesInstanceUID for n in "ac"}
    assert len(uids) == 2
    assert first != other


def test_values_beyond_sixteen_bits_are_saturated_and_counted(tmp_path, make_scan):
    scan = make_scan(Modality.MRI)
    voxels = scan.voxels.copy()
    voxels[0, 0, :3] = 70000
    count = write_new_series(scan.with_voxels(voxels), tmp_path / "s", patient_id="phantom-1")
    assert count == 3
    assert read_scan(tmp_path / "s").voxels.max() == 65535


def test_negative_suv_survives(tmp_path, make_scan):
    scan = make_scan(Modality.PET)
    scan = scan.with_voxels(scan.voxels - 1)
    write_new_series(scan, tmp_path / "s", patient_id="phantom-1")
    assert np.allclose(read_scan(tmp_path / "s").voxels, scan.voxels, atol=4e-4)


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path, make_scan):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError) as caught:
        write_new_series(make_scan(Modality.CT), tmp_path, patient_id="phantom-1")
    assert caught.value.code == "invalid_setting"
    assert [item.name for item in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.system("dciodvfy", "dcentvfy")
@pytest.mark.parametrize("modality", Modality)
def test_validators_find_no_error_in_a_new_series(
    tmp_path, modality, validator_errors, entity_errors, make_scan
):
    write_new_series(
        make_scan(modality), tmp_path / "s", patient_id="phantom-1", description="phantom"
    )
    files = sorted((tmp_path / "s").iterdir())
    assert set().union(*(validator_errors(path) for path in files)) == set()
    assert entity_errors(files) == ""
