"""Zero-filled k-space: the mean, the extent and the headers of an upsampled scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from amir.errors import InputError
from amir.imaging import Derivation, Scan, read_scan, upsample, write_new_series, write_scan
from amir.imaging.upsampling import fill_with_zeros
from amir.modality import Modality
from amir.phantoms import phantom_scan


@pytest.fixture(scope="module")
def head() -> Scan:
    return phantom_scan(Modality.MRI, 2, size=45, slices=4)


def corner(scan: Scan) -> np.ndarray:
    """Where, in millimetres, the outer corner of the first voxel lies."""
    return (scan.affine @ [-0.5, -0.5, -0.5, 1])[:3]


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [12, 13])
def test_a_wave_is_the_same_wave_on_a_finer_grid(factor: int, size: int) -> None:
    def wave(positions: np.ndarray) -> np.ndarray:
        return (7 + np.cos(2 * np.pi * 3 * positions / size + 0.4)).astype(np.float32)

    coarse = wave(np.arange(size))[None]
    fine = wave((np.arange(size * factor) + 0.5) / factor - 0.5)[None]
    np.testing.assert_allclose(fill_with_zeros(coarse, factor, 1), fine, rtol=1e-5)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("size", [16, 17])
def test_the_mean_of_every_line_stays(factor: int, size: int) -> None:
    lines = np.random.default_rng(0).uniform(0, 1000, (5, size)).astype(np.float32)
    means = fill_with_zeros(lines, factor, 1).mean(axis=1)
    np.testing.assert_allclose(means, lines.mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_matrix_spacing_and_mean_follow_and_the_extent_stays(head: Scan, factor: int) -> None:
    finer = upsample(head, factor, "axial")
    assert finer.voxels.shape == (45 * factor, 45 * factor, 4)
    np.testing.assert_allclose(
        finer.spacing_mm, np.array(head.spacing_mm) / [factor, factor, 1], rtol=1e-6
    )
    np.testing.assert_allclose(corner(finer), corner(head), atol=1e-9)
    assert finer.voxels.min() >= 0
    assert finer.voxels.mean() == pytest.approx(head.voxels.mean(), rel=0.02)


def test_a_structure_stays_where_it_was_in_the_patient(head: Scan) -> None:
    def centre_mm(scan: Scan) -> np.ndarray:
        weights = scan.voxels.astype(np.float64)
        places = np.indices(scan.voxels.shape).reshape(3, -1)
        mean = (places * weights.ravel()).sum(axis=1) / weights.sum()
        return (scan.affine @ [*mean, 1])[:3]

    np.testing.assert_allclose(centre_mm(upsample(head, 3, "axial")), centre_mm(head), atol=0.2)


def test_the_slices_of_training_are_the_finer_ones_however_the_scan_lies(head: Scan) -> None:
    turned = Scan(
        head.voxels.transpose(2, 0, 1), head.affine[:, [2, 0, 1, 3]], Modality.MRI, head.unit
    )
    finer = upsample(turned, 2, "axial")
    assert finer.voxels.shape == (4, 90, 90)
    expected = upsample(head, 2, "axial")
    np.testing.assert_allclose(finer.voxels.transpose(1, 2, 0), expected.voxels, rtol=1e-4)
    np.testing.assert_allclose(finer.affine[:, [1, 2, 0, 3]], expected.affine)


@pytest.mark.system("dciodvfy", "dcentvfy")
def test_an_upsampled_series_is_written_with_the_geometry_it_has(
    head: Scan,
    derivation: Derivation,
    tmp_path: Path,
    validator_errors: Callable[[Path], set[str]],
    entity_errors: Callable[..., str],
) -> None:
    write_new_series(head, tmp_path / "source", patient_id="p")
    source = read_scan(tmp_path / "source")
    before = [header.copy() for header in source.source.slices]
    finer = upsample(source, 2, "axial")
    assert list(source.source.slices) == before
    write_scan(finer, tmp_path / "out", derivation)
    back = read_scan(tmp_path / "out")
    np.testing.assert_allclose(back.affine, finer.affine, atol=1e-9)
    np.testing.assert_allclose(back.voxels, finer.voxels, atol=0.51)
    first = pydicom.dcmread(tmp_path / "out" / "0001.dcm")
    assert (first.Rows, first.Columns) == (90, 90)
    assert first.SourceImageSequence[0].SpatialLocationsPreserved == "NO"
    assert validator_errors(tmp_path / "out" / "0001.dcm") == set()
    assert entity_errors([*tmp_path.glob("source/*"), *tmp_path.glob("out/*")]) == ""


def test_nifti_keeps_the_finer_grid(head: Scan, tmp_path: Path) -> None:
    write_scan(head, tmp_path / "scan.nii.gz")
    finer = upsample(read_scan(tmp_path / "scan.nii.gz", modality=Modality.MRI), 2, "axial")
    write_scan(finer, tmp_path / "finer.nii.gz")
    back = read_scan(tmp_path / "finer.nii.gz", modality=Modality.MRI)
    np.testing.assert_allclose(back.affine, finer.affine, atol=1e-5)
    np.testing.assert_allclose(back.spacing_mm, finer.spacing_mm, rtol=1e-6)


def test_what_cannot_be_upsampled_is_refused(head: Scan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="upsample is for MR, the scan is CT") as caught:
        upsample(replace(head, modality=Modality.CT), 2, "axial")
    assert caught.value.code == "wrong_modality"
    sagittal = replace(head, affine=head.affine[:, [1, 2, 0, 3]])
    write_new_series(sagittal, tmp_path / "sagittal", patient_id="p")
    with pytest.raises(InputError, match="is not axial") as caught:
        upsample(read_scan(tmp_path / "sagittal"), 2, "axial")
    assert caught.value.code == "unsupported"
