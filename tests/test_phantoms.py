"""The synthetic cohort: different subjects, the same each time, in files that read back."""

import csv

import numpy as np
import pytest

from amir.imaging import read_scan
from amir.modality import MODELLING_RANGES, Modality
from amir.phantoms import phantom_scan, write_phantom_cohort


@pytest.mark.parametrize("modality", Modality)
def test_a_phantom_is_a_finite_scan_within_its_range(modality):
    scan = phantom_scan(modality, 3, size=48, slices=5)
    limits = MODELLING_RANGES[modality]
    assert scan.voxels.shape == (48, 48, 5)
    assert scan.unit == limits.unit
    assert scan.voxels.min() >= limits.lower
    assert scan.voxels.max() <= limits.upper
    assert np.linalg.det(scan.affine[:3, :3]) > 0


@pytest.mark.parametrize("modality", Modality)
def test_a_subject_is_the_same_each_time_and_unlike_the_others(modality):
    first, again, other = (phantom_scan(modality, k, size=48, slices=4) for k in (1, 1, 2))
    np.testing.assert_array_equal(first.voxels, again.voxels)
    difference = np.abs(first.voxels - other.voxels).mean()
    assert difference > 0.02 * np.abs(first.voxels - first.voxels.mean()).mean()


def test_the_liver_lies_on_the_right_of_the_patient():
    scan = phantom_scan(Modality.PET, 0, size=64, slices=24)
    assert scan.affine[0, 0] < 0  # columns run to the patient's left
    liver = scan.voxels[:, :, 9:11]
    assert liver[:32].sum() > liver[32:].sum()


def test_the_cohort_is_written_as_dicom_and_nifti_and_reads_back(tmp_path):
    table = write_phantom_cohort(
        tmp_path / "cohort with space",
        subjects_per_modality={"train": 1, "test": 1},
        size=32,
        slices={Modality.MRI: 3, Modality.CT: 2, Modality.PET: 4},
    )
    rows = list(csv.DictReader(table.open()))
    assert [row["split"] for row in rows] == ["train", "test"] * 3
    assert len({row["patient_id"] for row in rows}) == 6
    assert all(row["degraded"] == "" for row in rows)
    kinds = {(table.parent / row["target"]).is_dir() for row in rows}
    assert kinds == {True, False}
    for row in rows:
        modality = Modality(row["modality"])
        scan = read_scan(table.parent / row["target"], modality=modality)
        assert scan.unit == MODELLING_RANGES[modality].unit
        number = int(row["patient_id"][-3:])
        made = phantom_scan(modality, number, size=32, slices=scan.voxels.shape[2])
        np.testing.assert_allclose(scan.affine, made.affine, atol=1e-3)
        tolerance = 1e-3 * np.abs(made.voxels).max()
        np.testing.assert_allclose(scan.voxels, made.voxels, atol=tolerance)


def test_another_seed_gives_other_subjects(tmp_path):
    tables = [
        write_phantom_cohort(
            tmp_path / str(seed),
            subjects_per_modality={"train": 1},
            size=16,
            slices=dict.fromkeys(Modality, 2),
            seed=seed,
        )
        for seed in (0, 1)
    ]
    first, second = (read_scan(t.parent / "phantom-mri-000.nii.gz", modality="MRI") for t in tables)
    assert np.abs(first.voxels - second.voxels).max() > 1
