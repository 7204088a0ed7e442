"""The cohort file: what it lists, and what is said of a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from amir.dataset.cohort import CohortRow, read_cohort, slice_files, write_cohort
from amir.errors import InputError
from amir.modality import Modality

Write = Callable[..., Path]


@pytest.fixture
def cohort(tmp_path: Path) -> Write:
    """Writes a cohort file beside a.nii and b.nii."""
    for name in ("a.nii", "b.nii"):
        (tmp_path / name).touch()

    def write(*lines: str, header: str = "patient_id,modality,target,degraded,split") -> Path:
        path = tmp_path / "cohort.csv"
        path.write_text("\n".join([header, *lines]), encoding="utf-8")
        return path

    return write


def refusal(path: Path, code: str = "invalid_cohort") -> str:
    with pytest.raises(InputError) as caught:
        read_cohort(path)
    assert caught.value.code == code
    return str(caught.value)


def test_a_row_says_patient_scan_pair_and_split(cohort: Write, tmp_path: Path) -> None:
    assert read_cohort(cohort("kim,pet,a.nii,b.nii,test")) == [
        CohortRow("kim", Modality.PET, tmp_path / "a.nii", tmp_path / "b.nii", "test")
    ]


def test_what_is_left_empty_is_open(cohort: Write, tmp_path: Path) -> None:
    (row,) = read_cohort(cohort(" kim , CT, a.nii,,", ""))
    assert row == CohortRow("kim", Modality.CT, tmp_path / "a.nii")


def test_a_spreadsheets_byte_order_mark_and_an_absolute_path_are_read(
    cohort: Write, tmp_path: Path
) -> None:
    path = cohort(f"kim,CT,{tmp_path / 'a.nii'},,", header="\ufeffpatient_id,modality,target")
    assert read_cohort(path)[0].target == tmp_path / "a.nii"


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("patient_id,target", "cohort.csv lacks modality; the columns are patient_id, modality,"),
        ("patient_id,modality,target,splt", "cohort.csv has unknown splt; the columns are"),
        ("", "cohort.csv lacks patient_id, modality, target"),
    ],
)
def test_wrong_columns_are_named(header: str, told: str, cohort: Write) -> None:
    assert told in refusal(cohort("x", header=header))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("kim,XRAY,b.nii,,", "line 3: modality is 'XRAY'; choose from MRI, CT, PET"),
        (",CT,b.nii,,", "line 3: patient_id is empty"),
        ("kim,CT,,,", "line 3: target is empty"),
        ("kim,CT,b.nii,,dev", "line 3: split is 'dev'; choose from train, validation, test"),
        ("kim,CT,b.nii,,test,lee", "line 3: 'lee' is in no column; put quotes"),
        ("lee,CT,./a.nii,,", "lists one scan twice as a target: a.nii of patient kim, a.nii of"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(line: str, told: str, cohort: Write) -> None:
    assert told in refusal(cohort("kim,CT,a.nii,,", line))


def test_a_line_is_counted_as_an_editor_does(cohort: Write) -> None:
    assert "line 4: patient_id is empty" in refusal(cohort("kim,CT,a.nii,,", "", ",CT,b.nii,,"))


def test_a_link_to_a_listed_scan_is_the_same_scan(cohort: Write, tmp_path: Path) -> None:
    (tmp_path / "link.nii").symlink_to(tmp_path / "a.nii")
    assert "one scan twice" in refusal(cohort("kim,CT,a.nii,,", "lee,CT,link.nii,,"))


@pytest.mark.parametrize("line", ["kim,CT,none.nii,,", "kim,CT,a.nii,none.nii,"])
def test_a_missing_scan_is_named_by_its_line(line: str, cohort: Write) -> None:
    told = refusal(cohort(line), "missing_file")
    assert "line 2: there is no none.nii; paths are relative to the cohort file" in told


def test_an_address_is_refused_with_a_remedy(cohort: Write) -> None:
    assert "mount it or copy it" in refusal(cohort("kim,CT,s3://bucket/a.nii,,"), "unsupported")


def test_a_file_address_is_a_path(cohort: Write, tmp_path: Path) -> None:
    path = cohort(f"kim,CT,file://{tmp_path}/a.nii,file://localhost{tmp_path}/b%2Enii,")
    assert read_cohort(path) == [
        CohortRow("kim", Modality.CT, tmp_path / "a.nii", tmp_path / "b.nii")
    ]
    assert "mount it" in refusal(cohort("kim,CT,file://host/a.nii,,"), "unsupported")


def test_a_pattern_stands_for_slices_in_the_order_of_their_numbers(
    cohort: Write, tmp_path: Path
) -> None:
    for name in ("s_10.bin", "s_9.bin", "s_100.bin", "t_1.bin"):
        (tmp_path / name).touch()
    (row,) = read_cohort(cohort("kim,CT,s_*.bin,,"))
    assert [p.name for p in slice_files(row.target)] == ["s_9.bin", "s_10.bin", "s_100.bin"]
    assert "there is no r_*.bin" in refusal(cohort("kim,CT,r_*.bin,,"), "missing_file")


def test_a_file_named_like_a_pattern_is_itself(cohort: Write, tmp_path: Path) -> None:
    (tmp_path / "scan[1].nii").touch()
    (row,) = read_cohort(cohort("kim,CT,scan[1].nii,,"))
    assert slice_files(row.target) == []


def test_what_is_written_is_read_back_and_inside_paths_are_relative(
    cohort: Write, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "c.nii"
    outside.touch()
    rows = [
        CohortRow("kim, jr", Modality.PET, tmp_path / "a.nii", outside, "test", "lee"),
        CohortRow("lee", Modality.CT, tmp_path / "b.nii"),
    ]
    write_cohort(tmp_path / "cohort.csv", rows)
    assert read_cohort(tmp_path / "cohort.csv") == rows
    assert f'"kim, jr",PET,a.nii,{outside},test,lee' in (tmp_path / "cohort.csv").read_text()


def test_an_empty_a_missing_and_a_binary_cohort_are_told_apart(
    cohort: Write, tmp_path: Path
) -> None:
    assert "lists no scans" in refusal(cohort())
    assert "there is no cohort file" in refusal(tmp_path / "none.csv", "missing_file")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00patient")
    assert "binary.csv is not a CSV file" in refusal(tmp_path / "binary.csv")
