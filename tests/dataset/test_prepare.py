"""Scanner files to a dataset folder: the same each time, whole or not there, nothing private."""

from __future__ import annotations

import csv
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pydicom
import pytest

from amir.config import PrepareSettings
from amir.dataset.manifest import Manifest, check_shards, read_manifest, verify
from amir.dataset.prepare import prepare, prepare_scan, ray_map
from amir.dataset.shard import Shard
from amir.errors import InputError
from amir.imaging import Scan, read_scan, write_new_series, write_scan
from amir.modality import Modality
from amir.phantoms import phantom_scan

CANARY = "CANARY^SECRET"


class KilledError(Exception):
    """The job is killed."""


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """One CT of each split, as DICOM that names its patient."""
    rows = []
    for number, split in enumerate(("train", "train", "validation", "test")):
        folder = tmp_path / "scans" / f"ct-{number}"
        scan = phantom_scan(Modality.CT, number, size=32, slices=3)
        write_new_series(scan, folder, patient_id="SECRET-ID")
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.PatientName, dataset.PatientBirthDate = CANARY, "19120623"
            dataset.save_as(path)
        rows.append((f"p{number}", "CT", f"scans/ct-{number}", split))
    return listed(tmp_path / "cohort.csv", rows)


def listed(path: Path, rows: Iterable[Sequence[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("patient_id", "modality", "target", "split"), *rows])
    return path


def settings(cohort: Path, **more: Any) -> PrepareSettings:
    return PrepareSettings(cohort=cohort, **{"out": cohort.parent / "dataset", **more})


def backwards(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    return map(function, reversed(items))


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def refusal(chosen: PrepareSettings, code: str) -> str:
    with pytest.raises(InputError) as caught:
        prepare(chosen, each=map)
    assert caught.value.code == code
    assert not chosen.out.exists()
    return str(caught.value)


def spoil(cohort: Path, number: int) -> None:
    for path in (cohort.parent / "scans" / f"ct-{number}").iterdir():
        path.write_bytes(b"not DICOM at all")


def killed_after(count: int) -> Callable[..., Iterator[Any]]:
    """A map that is killed after so many scans."""

    def run(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        for done, item in enumerate(items):
            if function is prepare_scan and done == count:
                raise KilledError
            yield function(item)

    return run


def unfinished(folder: Path, name: str) -> Path:
    """A file of the hidden folder in which an unfinished dataset lies."""
    (found,) = folder.glob(f".dataset.preparing-*/{name}")
    return found


def test_the_dataset_holds_the_cohort(tiny_dataset: Path) -> None:
    manifest = read_manifest(tiny_dataset)
    check_shards(tiny_dataset, manifest)
    for split, count in (("train", 6), ("validation", 3), ("test", 3)):
        assert len(manifest.of(split)) == count
        for entry in manifest.of(split):
            shard = Shard(tiny_dataset, entry.file)
            assert shard.rows == entry.rows
            cells = shard.group(0)[0]
            assert cells["patient_id"] == entry.patient_id
            assert cells["modality"] == entry.modality
            assert cells["scan_id"] == entry.scan_id
    folders = {path.name for path in tiny_dataset.iterdir()}
    assert folders == {"train", "validation", "test", "manifest.json"}
    assert [p.name for p in tiny_dataset.parent.iterdir()] == [tiny_dataset.name]


def test_pet_is_cut_coronally_and_the_others_axially(tiny_dataset: Path) -> None:
    manifest = read_manifest(tiny_dataset)
    planes = {
        (cells["modality"], cells["plane"], cells["height"], cells["width"])
        for entry in manifest.of("train")
        for cells in Shard(tiny_dataset, entry.file).group(0)
    }
    assert planes == {
        ("MRI", "axial", 48, 48),
        ("CT", "axial", 48, 48),
        ("PET", "coronal", 24, 48),
    }


def test_twice_and_in_another_order_gives_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    prepare(settings(cohort), each=map)
    rows = list(csv.reader(cohort.open()))[1:]
    again = listed(tmp_path / "shuffled.csv", reversed(rows))
    prepare(settings(again, out=tmp_path / "again"), each=backwards)
    files = sorted(path.relative_to(tmp_path / "again") for path in tmp_path.rglob("again/*/*"))
    assert len(files) == 4
    for file in (*files, "manifest.json"):
        assert (tmp_path / "again" / file).read_bytes() == (
            tmp_path / "dataset" / file
        ).read_bytes()


def test_another_seed_gives_other_noise_and_another_digest(cohort: Path, tmp_path: Path) -> None:
    first = prepare(settings(cohort), each=map)
    second = prepare(settings(cohort, seed=1, out=tmp_path / "other"), each=map)
    assert first.split_digest == second.split_digest
    assert first.dataset_digest != second.dataset_digest


def test_a_killed_job_goes_on_with_what_was_not_finished(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        prepare(settings(cohort), each=killed_after(2))
    assert visible(tmp_path) == {"scans", "cohort.csv"}

    redone, told = [], []

    def noted(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        if function is prepare_scan:
            redone.extend(items)
        return map(function, items)

    manifest = prepare(
        settings(cohort), each=noted, report=lambda done, total: told.append((done, total))
    )
    assert [task.number for task in redone] == [2, 3]
    assert told == [(2, 4), (3, 4), (4, 4)]
    undisturbed = prepare(settings(cohort, out=tmp_path / "undisturbed"), each=map)
    assert manifest == undisturbed
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_kill_within_a_scan_leaves_no_half_shard(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KilledError

    monkeypatch.setattr(pq.ParquetWriter, "write_table", killed)
    with pytest.raises(KilledError):
        prepare(settings(cohort), each=map)
    assert [path for path in tmp_path.rglob("*.parquet*") if path.is_file()] == []
    monkeypatch.undo()
    check_shards(tmp_path / "dataset", prepare(settings(cohort), each=map))


def test_finished_shards_are_not_touched_again(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        prepare(settings(cohort), each=killed_after(2))
    before = unfinished(tmp_path, "train/00000.parquet").stat()
    manifest = prepare(settings(cohort), each=map)
    after = (tmp_path / "dataset" / manifest.of("train")[0].file).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("what", ["scan", "shard"])
def test_a_scan_or_shard_that_changed_after_the_kill_is_made_anew(
    what: str, cohort: Path, tmp_path: Path
) -> None:
    with pytest.raises(KilledError):
        prepare(settings(cohort), each=killed_after(2))
    if what == "scan":
        shutil.rmtree(tmp_path / "scans" / "ct-0")
        other = phantom_scan(Modality.CT, 17, size=32, slices=3)
        write_new_series(other, tmp_path / "scans" / "ct-0", patient_id="x")
    else:
        shard = unfinished(tmp_path, "train/00000.parquet")
        shard.write_bytes(shard.read_bytes()[:-1])
    manifest = prepare(settings(cohort), each=map)
    check_shards(tmp_path / "dataset", manifest)
    assert manifest == prepare(settings(cohort, out=tmp_path / "undisturbed"), each=map)


def test_another_code_does_not_go_on_with_what_this_one_left(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KilledError):
        prepare(settings(cohort), each=killed_after(2))
    monkeypatch.setenv("AMIR_CODE_VERSION", "another")
    told: list[int] = []
    prepare(settings(cohort), each=map, report=lambda done, total: told.append(done))
    assert told[0] == 0


def test_a_finished_dataset_is_checked_and_returned(cohort: Path) -> None:
    def reading(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        assert function is not prepare_scan
        return map(function, items)

    made = prepare(settings(cohort), each=map)
    assert prepare(settings(cohort, cpus=3), each=reading) == made
    shard = settings(cohort).out / made.of("test")[0].file
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        prepare(settings(cohort), each=reading)


def test_a_scan_that_changed_under_a_finished_dataset_is_named(cohort: Path) -> None:
    made = prepare(settings(cohort), each=map)
    spoil(cohort, 1)
    with pytest.raises(InputError, match="patient p1, ct-1: the files have changed since"):
        prepare(settings(cohort), each=map)
    assert read_manifest(settings(cohort).out) == made


def test_a_dataset_made_otherwise_is_not_overwritten(cohort: Path) -> None:
    made = prepare(settings(cohort), each=map)
    with pytest.raises(InputError, match="was made with another degradation, seed; choose"):
        prepare(settings(cohort, seed=1, degradation={"ct": {"dose": 0.5}}), each=map)
    assert read_manifest(settings(cohort).out) == made


def test_what_lies_at_out_is_left_alone(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    with pytest.raises(InputError, match="exists and is no dataset; choose another --out"):
        prepare(settings(cohort), each=map)
    assert list((tmp_path / "dataset").iterdir()) == []


def test_a_bad_scan_stops_the_job_by_name_and_what_is_finished_is_kept(cohort: Path) -> None:
    spoil(cohort, 1)
    told = refusal(settings(cohort), "unreadable")
    assert told.startswith("patient p1, ct-1: ")
    assert "--bad_scans skip; finished scans are kept" in told


def test_a_bad_scan_is_left_out_and_listed_where_so_set(cohort: Path) -> None:
    spoil(cohort, 1)
    manifest = prepare(settings(cohort, bad_scans="skip"), each=map)
    (refused,) = manifest.refused
    assert (refused.patient_id, refused.file, refused.code) == ("p1", "ct-1", "unreadable")
    assert manifest.patients("train") == ["p0"]
    assert read_manifest(settings(cohort).out) == manifest


def test_bad_scans_that_empty_a_split_stop_the_job(cohort: Path) -> None:
    spoil(cohort, 3)
    told = refusal(settings(cohort, bad_scans="skip"), "invalid_cohort")
    assert "no CT patient is in the test split (without the 1 scans that cannot be used)" in told


def test_one_scan_in_two_splits_is_refused_even_where_bad_scans_are_skipped(
    cohort: Path, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "scans" / "ct-3")
    shutil.copytree(tmp_path / "scans" / "ct-0", tmp_path / "scans" / "ct-3")
    told = refusal(settings(cohort, bad_scans="skip"), "invalid_cohort")
    assert "patients p0 and p3 have a scan with the same content: 3 slices of scan 0" in told


def test_slices_of_a_training_scan_in_another_format_are_found_in_the_test_split(
    cohort: Path, tmp_path: Path
) -> None:
    scan = read_scan(tmp_path / "scans" / "ct-0")
    part = Scan(scan.voxels[..., 1:], scan.affine, Modality.CT, "HU")
    write_scan(part, tmp_path / "scans" / "part.nii.gz")
    rows = [*list(csv.reader(cohort.open()))[1:], ("p9", "CT", "scans/part.nii.gz", "test")]
    told = refusal(settings(listed(cohort, rows)), "invalid_cohort")
    assert "patients p0 and p9 have a scan with the same content: 2 slices of scan 0" in told


def test_one_scan_twice_in_a_split_is_a_bad_scan(cohort: Path, tmp_path: Path) -> None:
    write_scan(read_scan(tmp_path / "scans" / "ct-0"), tmp_path / "scans" / "again.nii")
    rows = [*list(csv.reader(cohort.open()))[1:], ("p9", "CT", "scans/again.nii", "train")]
    chosen = settings(listed(cohort, rows))
    assert "patients p0 and p9 have a scan with the same content" in refusal(
        chosen, "invalid_cohort"
    )
    manifest = prepare(settings(cohort, bad_scans="skip"), each=map)
    assert [(r.number, r.patient_id, r.code) for r in manifest.refused] == [
        (4, "p9", "invalid_cohort")
    ]
    assert verify(settings(cohort).out) == []


@pytest.mark.parametrize(
    ("rows", "code", "told"),
    [
        ([("p", "CT", "scans/none", "")], "missing_file", "there is no scans/none"),
        ([("p", "US", "scans/ct-0", "")], "invalid_cohort", "modality is 'US'"),
        ([("p", "MRI", "scans/ct-0", "train")], "invalid_cohort", "no MRI patient is in the val"),
    ],
)
def test_a_wrong_cohort_is_refused_before_anything_is_made(
    rows: list[tuple[str, ...]], code: str, told: str, cohort: Path
) -> None:
    assert told in refusal(settings(listed(cohort, rows)), code)
    assert {p.name for p in cohort.parent.iterdir()} == {"scans", "cohort.csv"}


def test_no_private_header_reaches_dataset_messages_or_log(
    cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "scans" / "ct-1" / "0001.dcm").unlink()
    first = sorted((tmp_path / "scans" / "ct-1").iterdir())[0]
    dataset = pydicom.dcmread(first)
    dataset.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    dataset.save_as(first)
    with caplog.at_level(logging.DEBUG):
        manifest = prepare(settings(cohort, bad_scans="skip"), each=map)
    assert len(manifest.refused) == 1
    private = [text.encode() for text in (CANARY, "SECRET", "19120623")]
    written = [path.read_bytes() for path in settings(cohort).out.rglob("*") if path.is_file()]
    assert len(written) == 4
    for content in (*written, caplog.text.encode(), repr(manifest.refused).encode()):
        assert not any(text in content for text in private)


def test_a_full_disk_is_told_and_never_taken_for_a_bad_scan(cohort: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        chosen = settings(cohort, out=disk / "dataset", bad_scans="skip")
        assert "no room left on the disk while writing" in refusal(chosen, "disk_full")
        assert visible(disk) == set()
        assert list(disk.rglob("*.partial*")) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_scan_of_air_is_a_bad_scan(cohort: Path, tmp_path: Path) -> None:
    scan = phantom_scan(Modality.CT, 0, size=32, slices=3)
    write_scan(scan.with_voxels(scan.voxels * 0 - 1000), tmp_path / "scans" / "air.nii")
    rows = [*list(csv.reader(cohort.open()))[1:], ("p9", "CT", "scans/air.nii", "train")]
    manifest = prepare(settings(listed(cohort, rows), bad_scans="skip"), each=map)
    assert [(refused.patient_id, refused.code) for refused in manifest.refused] == [("p9", "empty")]


def test_without_work_ray_is_not_started() -> None:
    assert list(ray_map(prepare_scan, [])) == []


def test_the_manifest_says_what_made_it(tiny_dataset: Path) -> None:
    manifest: Manifest = read_manifest(tiny_dataset)
    assert manifest.settings["degradation"]["pet"]["dose_reduction"] == 12.0
    assert "cohort" not in manifest.settings
    assert "out" not in manifest.settings
    assert manifest.versions.keys() >= {"code", "pyarrow", "numpy"}
    assert manifest.ranges["PET"] == [0.0, 20.0]
    for entry in manifest.of("train"):
        assert entry.parameters["name"]
        assert 0 <= entry.clipped < entry.voxels
