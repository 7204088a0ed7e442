"""A restored scan in one file of the kind it came in, and arrays without a header."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from amir.errors import InputError
from amir.imaging import Derivation, read_scan, to_plane, write_scan, write_single_file
from amir.modality import TRAINING_PLANES, Modality

DERIVATION = Derivation("AMIR", "1", "ab" * 32, "ct-denoise")
SLICES = np.random.default_rng(0).uniform(0, 1000, (3, 10, 12)).astype(np.float32)


def test_a_series_goes_back_into_one_zip(new_series, tmp_path):
    scan = read_scan(new_series(Modality.CT))
    assert write_single_file(scan, tmp_path / "a.zip", DERIVATION) == 0
    write_scan(scan, tmp_path / "folder", DERIVATION)
    back = read_scan(tmp_path / "a.zip")
    assert np.array_equal(back.voxels, read_scan(tmp_path / "folder").voxels)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = sorted(path.name for path in (tmp_path / "folder").iterdir())
        assert archive.namelist() == names


def test_one_slice_goes_back_into_one_file(new_series, tmp_path):
    scan = read_scan(next(new_series(Modality.CT).iterdir()))
    write_single_file(scan, tmp_path / "a.dcm", DERIVATION)
    assert np.array_equal(read_scan(tmp_path / "a.dcm").voxels, scan.voxels)


def test_several_slices_do_not_fit_one_file(new_series, tmp_path):
    scan = read_scan(new_series(Modality.CT))
    with pytest.raises(InputError, match="ask for a zip"):
        write_single_file(scan, tmp_path / "a.dcm", DERIVATION)


@pytest.mark.parametrize("modality", Modality)
@pytest.mark.parametrize("slices", [SLICES, SLICES[0]], ids=["volume", "slice"])
def test_an_array_comes_back_in_its_own_shape(modality, slices, tmp_path):
    np.save(tmp_path / "a.npy", slices)
    scan = read_scan(tmp_path / "a.npy", modality=modality)
    cut = to_plane(scan, TRAINING_PLANES[modality]).slices
    assert np.array_equal(cut, slices.reshape(-1, 10, 12))
    write_single_file(scan, tmp_path / "b.npy", DERIVATION)
    assert np.array_equal(np.load(tmp_path / "b.npy"), slices)


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros(5), "unsupported"),
        (np.zeros((4, 4), complex), "unsupported"),
        (np.zeros((0, 4, 4)), "empty"),
        (np.full((4, 4), np.nan), "not_finite"),
        (np.zeros((40, 40)), "too_large"),
        (np.array([{"an": "object"}]), "unreadable"),
    ],
    ids=["line", "complex", "nothing", "nan", "large", "pickle"],
)
def test_an_array_that_is_no_image_is_refused(array, code, tmp_path):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError) as refusal:
        read_scan(tmp_path / "a.npy", modality=Modality.CT, max_voxels=1000)
    assert refusal.value.code == code


def test_an_array_file_cut_short_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", SLICES)
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-100])
    with pytest.raises(InputError) as refusal:
        read_scan(tmp_path / "a.npy", modality=Modality.CT)
    assert refusal.value.code == "unreadable"


def test_an_array_needs_to_be_told_its_modality(tmp_path):
    np.save(tmp_path / "a.npy", SLICES)
    with pytest.raises(InputError, match="MRI, CT or PET"):
        read_scan(tmp_path / "a.npy")
