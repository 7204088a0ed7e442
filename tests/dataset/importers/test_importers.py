"""Miniature folders named as the collections are, made of real files, and the cohort of each."""

from __future__ import annotations

import csv
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from amir.config import ImportSettings, PrepareSettings
from amir.dataset.cohort import read_cohort
from amir.dataset.importers.bids import import_bids
from amir.dataset.importers.by_layout import import_cohort
from amir.dataset.importers.ixi import import_ixi, ixi_splits
from amir.dataset.importers.mayo import CHALLENGE, import_mayo
from amir.dataset.importers.published import import_published
from amir.dataset.prepare import prepare
from amir.errors import InputError
from amir.imaging import write_new_series, write_scan
from amir.modality import Modality
from amir.phantoms import phantom_scan

ROOT = Path(__file__).resolve().parents[3]
SITES = ("Guys", "HH", "IOP")


def volume(path: Path, modality: Modality = Modality.MRI, subject: int = 0, size: int = 32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_scan(phantom_scan(modality, subject, size=size, slices=4), path)
    return path


# IXI


def test_ixi_has_the_papers_numbers_and_each_site_its_share() -> None:
    sites = {f"IXI{k:03d}": SITES[0 if k < 322 else 1 if k < 506 else 2] for k in range(578)}
    splits = ixi_splits(sites)
    assert Counter(splits.values()) == {"train": 405, "validation": 59, "test": 114}
    for site, count in Counter(sites.values()).items():
        share = Counter(splits[subject] for subject in sites if sites[subject] == site)
        assert abs(share["test"] - 114 / 578 * count) <= 1
        assert abs(share["validation"] - 59 / 578 * count) <= 2
    backwards = dict(reversed(sites.items()))
    assert ixi_splits(backwards) == splits


def test_ixi_t2_volumes_become_targets_of_their_subjects(tmp_path: Path) -> None:
    for subject in range(1, 12):
        volume(
            tmp_path
            / "IXI-T2"
            / f"IXI{subject:03d}-{SITES[subject % 3]}-0{800 + subject}-T2.nii.gz"
        )
    volume(tmp_path / "IXI-T1" / "IXI001-Guys-0801-T1.nii.gz")
    volume(tmp_path / "IXI-T2" / "average.nii")
    found = import_ixi(tmp_path)
    assert [row.patient_id for row in found.rows] == [f"IXI{k:03d}" for k in range(1, 12)]
    assert Counter(row.split for row in found.rows) == {"train": 8, "validation": 1, "test": 2}
    assert {row.modality for row in found.rows} == {Modality.MRI}
    assert found.left_out == {
        "T1, not T2": ["IXI001-Guys-0801-T1.nii.gz"],
        "not named as IXI names its volumes": ["average.nii"],
    }
    assert found.options == "--central_slices 100 --intensity.scale fixed"


# AAPM-Mayo


def series(folder: Path, subject: int, *, suffix: str = ".IMA", name: str = "{}") -> None:
    write_new_series(
        phantom_scan(Modality.CT, subject, size=32, slices=2), folder, patient_id="any"
    )
    for number, path in enumerate(sorted(folder.iterdir()), 1):
        path.rename(folder / (name.format(f"{number:04d}") + suffix))


def test_mayo_challenge_pairs_full_and_quarter_dose_of_each_patient(tmp_path: Path) -> None:
    for subject, patient in enumerate(CHALLENGE):
        for dose, code in (("full", "FD"), ("quarter", "QD")):
            file = f"{patient}_{code}_3_1.CT.0001.{{}}.2015.12.22.18.10.00.1.2"
            series(tmp_path / f"{dose}_3mm" / patient / f"{dose}_3mm", subject, name=file)
    found = import_mayo(tmp_path)
    assert [row.patient_id for row in found.rows] == list(CHALLENGE)
    assert Counter(row.split for row in found.rows) == {"train": 8, "validation": 1, "test": 1}
    for row in found.rows:
        assert row.target == tmp_path / "full_3mm" / row.patient_id / "full_3mm"
        assert row.degraded == tmp_path / "quarter_3mm" / row.patient_id / "quarter_3mm"


def test_mayo_with_several_reconstructions_asks_which(tmp_path: Path) -> None:
    original = tmp_path / "Original Data"
    for kernel, sharp in (("Soft Kernel (B30)", ""), ("Sharp Kernel (D45)", "_sharp")):
        for dose in ("Full", "Quarter"):
            leaf = f"{dose.lower()}_1mm{sharp}"
            place = original / f"{dose} Dose" / "1mm Slice Thickness" / kernel / "L096" / leaf
            series(place, 0)
    with pytest.raises(
        InputError, match="holds 1mm, 1mm_sharp; choose one with --series"
    ) as caught:
        import_mayo(tmp_path)
    assert caught.value.code == "invalid_setting"
    (row,) = import_mayo(tmp_path, series="1mm_sharp").rows
    assert row.target.name == "full_1mm_sharp"
    assert row.degraded is not None
    assert row.degraded.name == "quarter_1mm_sharp"
    assert row.split is None


def test_mayo_of_tcia_is_found_by_its_series_folders(tmp_path: Path) -> None:
    top = tmp_path / "LDCT-and-Projection-data"
    for patient in ("L014", "L123", "C002"):
        series(
            top / patient / "12-23-2021-NA-NA-83637" / "1.000000-Full Dose Images-28591",
            0,
            suffix=".dcm",
        )
        series(
            top / patient / "08-23-2018-75696" / "1.000000-Low Dose Images-07574", 0, suffix=".dcm"
        )
    series(
        top / "L014" / "08-22-2018-20022" / "1.000000-Full dose projections-35722", 0, suffix=".dcm"
    )
    series(top / "L200" / "08-22-2018-20023" / "1.000000-Full dose images-35723", 1, suffix=".dcm")
    found = import_mayo(tmp_path)
    assert [(row.patient_id, row.degraded is not None) for row in found.rows] == [
        ("L014", True),
        ("L123", True),
        ("L200", False),
    ]
    assert set(found.left_out) == {
        "projections, not images",
        "a head or a chest; the paper uses the abdomens",
        "no quarter dose; listed as a target alone, to be simulated",
    }


# BIDS


def test_bids_subjects_keep_their_sessions_and_links(tmp_path: Path) -> None:
    volume(tmp_path / "sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz")
    volume(tmp_path / "sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz", subject=1)
    volume(tmp_path / "sub-02/anat/sub-02_acq-low_T2w.nii.gz", subject=2)
    volume(tmp_path / "sub-02/anat/sub-02_acq-full_T2w.nii.gz", subject=2)
    volume(tmp_path / "sub-02/anat/sub-02_part-phase_T2w.nii.gz", subject=2)
    volume(tmp_path / "sub-02/func/sub-02_task-rest_bold.nii.gz", subject=3)
    volume(tmp_path / "sub-03/pet/sub-03_trc-FDG_pet.nii.gz", Modality.PET, 3)
    volume(tmp_path / "sub-03/ct/sub-03_ct.nii.gz", Modality.CT, 3)
    volume(tmp_path / "derivatives/sub-03/anat/sub-03_T1w.nii.gz")
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsplit\tlinked_to\nsub-01\t50\ttest\tn/a\nsub-03\t50\tn/a\tsub-02\n"
    )
    found = import_bids(tmp_path, degraded="acq-low")
    told = [
        (r.patient_id, str(r.modality), r.degraded is not None, r.split, r.linked_to)
        for r in found.rows
    ]
    assert told == [
        ("sub-01", "MRI", False, "test", None),
        ("sub-01", "MRI", False, "test", None),
        ("sub-02", "MRI", True, None, None),
        ("sub-03", "CT", False, None, "sub-02"),
        ("sub-03", "PET", False, None, "sub-02"),
    ]
    assert found.rows[2].target.name == "sub-02_acq-full_T2w.nii.gz"
    assert found.rows[2].degraded is not None
    assert found.rows[2].degraded.name == "sub-02_acq-low_T2w.nii.gz"
    assert set(found.left_out) == {
        "phase, real or imaginary part",
        "func/bold, which is no MRI, PET or CT image",
        "not below a sub- folder (derivatives, source data)",
    }


def test_a_bids_degraded_scan_without_its_target_is_left_out_by_name(tmp_path: Path) -> None:
    volume(tmp_path / "sub-01/anat/sub-01_T2w.nii.gz")
    volume(tmp_path / "sub-02/anat/sub-02_acq-low_T2w.nii.gz")
    found = import_bids(tmp_path, degraded="acq-low")
    assert [row.patient_id for row in found.rows] == ["sub-01"]
    assert found.left_out == {
        "degraded, without the scan it belongs to": ["sub-02_acq-low_T2w.nii.gz"]
    }


def test_a_wrong_split_in_participants_is_named(tmp_path: Path) -> None:
    volume(tmp_path / "sub-01/anat/sub-01_T2w.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id\tsplit\nsub-01\tdev\n")
    with pytest.raises(InputError, match="split of sub-01 is 'dev'; choose from train"):
        import_bids(tmp_path)


# The authors' release


def release(root: Path) -> Path:
    """Each modality with one scan to train (.bin), validate and test (.nii), three slices each."""
    generator = np.random.default_rng(3)
    peak = {"MRI": 1200.0, "CT": 60.0, "PET": 8.0}
    shape = {"MRI": (32, 32), "CT": (32, 32), "PET": (24, 40)}
    for modality in Modality:
        for subject, split in enumerate(("train", "validation", "test")):
            for number in (2, 9, 10):
                image = generator.uniform(0.5, 1, shape[modality]).astype(np.float32)
                for quality, scale in (("HQ", 1.0), ("LQ", 0.9)):
                    folder = root / modality / split / quality
                    folder.mkdir(parents=True, exist_ok=True)
                    array = image * np.float32(scale * peak[modality])
                    name = f"{modality}{subject}-Guys-08_{number}"
                    if split == "train":
                        content = pickle.dumps(torch.from_numpy(array[None]))
                        (folder / f"{name}.bin").write_bytes(content)
                    else:
                        nibabel.save(
                            nibabel.Nifti1Image(array.T, np.eye(4)), folder / f"{name}.nii"
                        )
    return root


def test_the_authors_release_becomes_a_row_for_each_scan_and_then_shards(tmp_path: Path) -> None:
    root = release(tmp_path / "release")
    found = import_cohort(ImportSettings(layout="published", root=root, out=tmp_path / "c.csv"))
    assert len(found.rows) == 9
    rows = read_cohort(tmp_path / "c.csv")
    assert rows == found.rows
    assert rows[0].patient_id == "MRI-MRI0-Guys-08"
    assert rows[0].target == root / "MRI/train/HQ/MRI0-Guys-08_[0-9]*.bin"
    manifest = prepare(
        PrepareSettings(
            cohort=tmp_path / "c.csv", out=tmp_path / "data", intensity={"scale": "fixed"}
        ),
        each=map,
    )
    assert [manifest.slices(split) for split in ("train", "validation", "test")] == [9, 9, 9]
    assert {entry.parameters["name"] for entry in manifest.of("train")} == {"paired"}


def test_a_slice_without_its_partner_takes_its_scan_out_by_name(tmp_path: Path) -> None:
    root = release(tmp_path)
    (root / "CT/train/LQ/CT0-Guys-08_9.bin").unlink()
    found = import_published(root)
    assert len(found.rows) == 8
    assert found.left_out == {
        "without its partner in LQ or HQ, and so all of CT0-Guys-08": ["CT0-Guys-08_9.bin"]
    }


def test_a_scan_whose_name_begins_another_is_refused(tmp_path: Path) -> None:
    root = release(tmp_path)
    for quality in ("LQ", "HQ"):
        folder = root / "CT/train" / quality
        (folder / "CT0-Guys-08_9_1.bin").write_bytes((folder / "CT0-Guys-08_9.bin").read_bytes())
    with pytest.raises(InputError, match="slices of CT0-Guys-08_9 cannot be told from those of"):
        import_published(root)


def test_slices_without_numbers_are_scans_of_their_own(tmp_path: Path) -> None:
    for quality in ("LQ", "HQ"):
        folder = tmp_path / "CT/test" / quality
        folder.mkdir(parents=True)
        for name in ("0001", "x[1]", "x1"):
            (folder / f"{name}.bin").write_bytes(pickle.dumps(np.ones((4, 5))))
    import_cohort(ImportSettings(layout="published", root=tmp_path, out=tmp_path / "c.csv"))
    assert [row.patient_id for row in read_cohort(tmp_path / "c.csv")] == [
        "CT-0001",
        "CT-x1",
        "CT-x[1]",
    ]


# All of them


@pytest.mark.parametrize("layout", ["ixi", "mayo", "bids", "published"])
def test_a_folder_that_holds_nothing_of_the_kind_is_refused(layout: str, tmp_path: Path) -> None:
    settings = ImportSettings(layout=layout, root=tmp_path, out=tmp_path / "c.csv")
    with pytest.raises(InputError, match="holds no") as caught:
        import_cohort(settings)
    assert caught.value.code == "empty"
    missing = settings.model_copy(update={"root": tmp_path / "none"})
    with pytest.raises(InputError, match="there is no folder") as caught:
        import_cohort(missing)
    assert caught.value.code == "missing_file"
    assert list(tmp_path.iterdir()) == []


def test_the_job_writes_the_cohort_and_says_what_comes_next(tmp_path: Path) -> None:
    volume(tmp_path / "sub-01/anat/sub-01_T2w.nii.gz")
    job = [sys.executable, str(ROOT / "jobs" / "import_cohort.py"), "--from", "bids", "--root", "."]
    done = subprocess.run(job, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "MRI: 1 patients, 1 scans, 0 with a degraded one; scans by split: 1 open" in done.stdout
    assert "next: python jobs/prepare_dataset.py --cohort cohort.csv --out dataset" in done.stdout
    rows = list(csv.DictReader((tmp_path / "cohort.csv").open()))
    assert [row["target"] for row in rows] == ["sub-01/anat/sub-01_T2w.nii.gz"]
    again = subprocess.run(job, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 2
    assert "cohort.csv exists; choose another --out" in again.stderr
