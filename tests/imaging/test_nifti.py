from __future__ import annotations

import contextlib
import gzip
import struct
import tracemalloc

import nibabel
import numpy as np
import pytest

from amir.errors import InputError
from amir.imaging import read_scan, write_scan
from amir.modality import Modality


def code_of(path, **said) -> str:
    with pytest.raises(InputError) as caught:
        read_scan(path, **said)
    return caught.value.code


@pytest.fixture
def volume(tmp_path, make_scan):
    path = tmp_path / "sub-01_T1w.nii.gz"
    write_scan(make_scan(Modality.MRI), path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_written_is_read_back(tmp_path, suffix, make_scan):
    scan = make_scan(Modality.PET)
    write_scan(scan, tmp_path / f"x_SUV{suffix}")
    back = read_scan(tmp_path / f"x_SUV{suffix}")
    assert np.array_equal(back.voxels, scan.voxels)
    assert np.allclose(back.affine, scan.affine)
    assert (back.modality, back.unit) == (Modality.PET, "SUV")
    assert [item.name for item in tmp_path.iterdir()] == [f"x_SUV{suffix}"]


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SAL", "LAI"])
def test_any_orientation_keeps_each_voxel_in_its_place(tmp_path, axes, make_scan, affine):
    turn = nibabel.orientations.axcodes2ornt(axes)
    image = nibabel.Nifti1Image(make_scan(Modality.MRI).voxels, affine)
    turned = image.as_reoriented(
        nibabel.orientations.ornt_transform(turn, [[0, 1], [1, 1], [2, 1]])
    )
    nibabel.save(turned, tmp_path / "x_T2w.nii")
    scan = read_scan(tmp_path / "x_T2w.nii")
    again = nibabel.as_closest_canonical(nibabel.Nifti1Image(scan.voxels, scan.affine))
    assert np.array_equal(again.get_fdata(), image.get_fdata())


def test_slope_and_intercept_are_applied(tmp_path, affine):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), affine)
    image.header.set_slope_inter(0.5, 10.0)
    nibabel.save(image, tmp_path / "x_T1w.nii")
    header = nibabel.load(tmp_path / "x_T1w.nii").dataobj
    assert (header.slope, header.inter) == (0.5, 10.0)
    assert read_scan(tmp_path / "x_T1w.nii").voxels[1, 2, 3] == 23 * 0.5 + 10


def test_a_fourth_axis_of_one_volume_is_dropped_and_more_are_refused(tmp_path, affine):
    for count in (1, 2):
        image = nibabel.Nifti1Image(np.zeros((3, 4, 5, count), dtype=np.float32), affine)
        nibabel.save(image, tmp_path / f"{count}_T1w.nii")
    assert read_scan(tmp_path / "1_T1w.nii").voxels.shape == (3, 4, 5)
    assert code_of(tmp_path / "2_T1w.nii") == "unsupported"


def test_colour_volumes_are_refused(tmp_path, affine):
    colour = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, affine), tmp_path / "x_T1w.nii")
    assert code_of(tmp_path / "x_T1w.nii") == "unsupported"


def test_metres_become_millimetres(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.diag([1e-3, 2e-3, 3e-3, 1]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "x_T1w.nii")
    assert np.allclose(read_scan(tmp_path / "x_T1w.nii").spacing_mm, (1, 2, 3))


@pytest.mark.parametrize("kept", [0, 10, 100, 400, 1500])
def test_truncated_files_are_unreadable(volume, kept):
    volume.write_bytes(volume.read_bytes()[:kept])
    assert code_of(volume) == "unreadable"


def test_a_damaged_header_is_read_or_refused_but_never_crashes(volume):
    content = gzip.decompress(volume.read_bytes())
    random = np.random.default_rng(0)
    plain = volume.with_name("x_T1w.nii")
    refusals = []
    for offset in range(352):
        damaged = bytearray(content)
        damaged[offset] ^= int(random.integers(1, 256))
        plain.write_bytes(damaged)
        with contextlib.suppress(InputError):
            read_scan(plain)
            continue
        refusals.append(offset)
    # The number of axes and the high bytes of their lengths.
    assert {40, 41, 43, 45, 47} <= set(refusals)


def test_a_volume_declared_beyond_the_limit_is_refused_before_it_is_inflated(volume):
    content = bytearray(gzip.decompress(volume.read_bytes()))
    content[42:48] = struct.pack("<3h", 30000, 30000, 30000)
    volume.write_bytes(gzip.compress(bytes(content)))
    assert code_of(volume) == "too_large"


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_no_room_is_made_for_voxels_that_the_file_cannot_hold(volume, suffix):
    content = bytearray(gzip.decompress(volume.read_bytes()))
    content[42:48] = struct.pack("<3h", 800, 800, 800)
    path = volume.with_name(f"x_T1w.{suffix}")
    path.write_bytes(gzip.compress(content) if suffix == "nii.gz" else content)
    tracemalloc.start()
    assert code_of(path) == "unreadable"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


def test_a_packed_volume_that_is_a_bomb_is_refused(tmp_path, affine):
    empty = np.zeros((512, 512, 200), np.int16)
    nibabel.save(nibabel.Nifti1Image(empty, affine), tmp_path / "x_T1w.nii.gz")
    assert code_of(tmp_path / "x_T1w.nii.gz") == "too_large"


@pytest.mark.parametrize("name", ["x_T1w.nii", "x_pet.nii"])
def test_a_volume_of_no_voxels_is_refused(tmp_path, affine, name):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 0, 3), np.float32), affine), tmp_path / name)
    assert code_of(tmp_path / name) == "unsupported"


def test_nan_is_refused(tmp_path, affine):
    image = nibabel.Nifti1Image(np.full((2, 2, 2), np.nan, dtype=np.float32), affine)
    nibabel.save(image, tmp_path / "x_T1w.nii")
    assert code_of(tmp_path / "x_T1w.nii") == "not_finite"


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("sub-01_T1w", "MRI"),
        ("sub-m04_T1wGd", "MRI"),
        ("a_FLAIR", "MRI"),
        ("sub-s003_FDG_SUV", "PET"),
        ("sub-01_pet", "PET"),
        ("sub-s007_extremityCT", "CT"),
    ],
)
def test_a_file_name_may_say_the_modality(tmp_path, name, modality, make_scan):
    write_scan(make_scan(Modality.PET), tmp_path / f"{name}.nii.gz")
    assert read_scan(tmp_path / f"{name}.nii.gz").modality == modality


def test_a_name_that_says_nothing_needs_the_modality(tmp_path, make_scan):
    write_scan(make_scan(Modality.CT), tmp_path / "chest.nii.gz")
    assert code_of(tmp_path / "chest.nii.gz") == "wrong_modality"
    assert read_scan(tmp_path / "chest.nii.gz", modality=Modality.CT).unit == "HU"


def test_activity_is_not_taken_for_suv(tmp_path, make_scan):
    scan = make_scan(Modality.PET)
    write_scan(scan.with_voxels(scan.voxels * 5000), tmp_path / "x_pet.nii.gz")
    assert code_of(tmp_path / "x_pet.nii.gz") == "unsupported"
    assert read_scan(tmp_path / "x_pet.nii.gz", unit="Bq/ml").unit == "Bq/ml"


def test_a_missing_file_is_named_without_its_folder(tmp_path):
    with pytest.raises(InputError, match=r"^gone\.nii") as caught:
        read_scan(tmp_path / "gone.nii", modality=Modality.CT)
    assert caught.value.code == "missing_file"


def test_restored_integers_stay_integers_and_say_what_they_are(tmp_path, derivation, affine):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), affine)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"CANARY"))
    nibabel.save(image, tmp_path / "x_T1w.nii")
    scan = read_scan(tmp_path / "x_T1w.nii")
    write_scan(scan, tmp_path / "whole.nii", derivation)
    write_scan(scan.with_voxels(scan.voxels + 0.5), tmp_path / "half.nii", derivation)
    write_scan(scan.with_voxels(scan.voxels + 40000), tmp_path / "large.nii", derivation)
    whole, half, large = (nibabel.load(tmp_path / f"{n}.nii") for n in ("whole", "half", "large"))
    assert whole.get_data_dtype() == np.int16
    assert half.get_data_dtype() == large.get_data_dtype() == np.float32
    assert whole.header["descrip"].item() == b"AMIR restored, research use only"
    assert b"CANARY" not in (tmp_path / "whole.nii").read_bytes()
    assert np.array_equal(whole.get_fdata(), image.get_fdata())


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch, make_scan):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nibabel, "save", full_disk)
    with pytest.raises(InputError) as caught:
        write_scan(make_scan(Modality.CT), tmp_path / "x.nii.gz")
    assert caught.value.code == "disk_full"
    assert list(tmp_path.iterdir()) == []


def test_every_real_volume_reads(real_scans):
    folders = {"mri": Modality.MRI, "ct": Modality.CT, "pet": Modality.PET}
    volumes = sorted(path for name in folders for path in (real_scans / name).glob("*.nii.gz"))
    assert len(volumes) >= 40
    for path in volumes:
        scan = read_scan(path, modality=folders[path.parent.name])
        assert nibabel.aff2axcodes(scan.affine) == ("R", "A", "S")
        assert scan.voxels.max() > scan.voxels.min()
