"""A series in a zip, on a medium with a DICOMDIR, or among others; and archives that attack."""

from __future__ import annotations

import logging
import stat
import struct
import time
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.fileset import FileSet
from pydicom.uid import generate_uid

from amir.errors import InputError
from amir.imaging import read_scan, write_new_series, write_scan
from amir.modality import Modality


def refused(path) -> InputError:
    """The error of reading, which quotes neither the planted name nor a folder."""
    with pytest.raises(InputError) as caught:
        read_scan(path)
    assert "CANARY" not in str(caught.value)
    assert "/tmp" not in str(caught.value)
    return caught.value


@pytest.fixture
def two_series(new_series, make_scan, tmp_path):
    """A folder with the CT and another CT of the same patient, as an export lays them out."""
    folder = tmp_path / "export"
    folder.mkdir()
    new_series(Modality.CT).rename(folder / "one")
    write_new_series(make_scan(Modality.CT, (8, 8, 3)), folder / "two", patient_id="phantom-1")
    return folder


def zipped(folder, path):
    """The folder's files in an archive, below folders named after the patient."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"CANARY^SECRET/{file.relative_to(folder)}")
    return path


def test_a_zip_is_the_scan_that_its_folder_is(new_series, tmp_path):
    folder = new_series(Modality.PET)
    (folder / "notes.txt").write_text("notes")
    expected, scan = read_scan(folder), read_scan(zipped(folder, tmp_path / "a.zip"))
    assert np.array_equal(scan.voxels, expected.voxels)
    assert np.array_equal(scan.affine, expected.affine)
    assert scan.content_hash == expected.content_hash


def test_what_was_zipped_is_restored_to_a_series(new_series, derivation, tmp_path):
    scan = read_scan(zipped(new_series(Modality.CT), tmp_path / "a.zip"))
    write_scan(scan, tmp_path / "out", derivation)
    assert np.array_equal(read_scan(tmp_path / "out").voxels, scan.voxels)


@pytest.mark.parametrize("pack", [lambda folder, _: folder, zipped], ids=["folder", "zip"])
def test_one_of_several_series_is_chosen_by_the_label_that_the_refusal_lists(
    two_series, tmp_path, pack
):
    path = pack(two_series, tmp_path / "a.zip")
    error = refused(path)
    assert error.code == "mixed_series"
    assert "5 images" in str(error)
    label = str(error).rsplit("choose=", 1)[1]
    scan = read_scan(f"{path}#{label}")
    uid = scan.source.slices[0].SeriesInstanceUID
    assert np.array_equal(read_scan(f"{path}#{uid}").voxels, scan.voxels)
    assert refused(f"{path}#ffffffffffff").code == "mixed_series"


def test_scouts_reports_and_drawings_beside_a_scan_are_passed_over(new_series, tmp_path):
    folder = new_series(Modality.CT)
    expected = read_scan(folder).voxels
    for name, alter in {
        "scout": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        "report": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11", "Modality": "SR"},
        "shot": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"},
    }.items():
        other = pydicom.dcmread(folder / "0001.dcm")
        other.SeriesInstanceUID, other.SOPInstanceUID = generate_uid(), generate_uid()
        for keyword, value in alter.items():
            setattr(other, keyword, value)
        other.save_as(folder / f"{name}.dcm")
    assert np.array_equal(read_scan(folder).voxels, expected)


def test_echoes_of_one_classic_series_are_chosen_by_name(new_series, change):
    folder = new_series(Modality.MRI)
    expected = read_scan(folder).voxels
    for path in sorted(folder.iterdir()):
        second = pydicom.dcmread(path)
        second.EchoTime, second.SOPInstanceUID = 123, generate_uid()
        second.save_as(folder / f"b{path.name}")
    error = refused(folder)
    assert error.code == "duplicate_position"
    assert "EchoTime (0018,0081)" in str(error)
    assert "echo=123" in str(error)
    assert np.array_equal(read_scan(f"{folder}#echo=123").voxels, expected)


@pytest.fixture
def medium(two_series, tmp_path):
    """A CD with a DICOMDIR of both series."""
    files = FileSet()
    for path in two_series.rglob("*.dcm"):
        files.add(path)
    files.write(tmp_path / "medium")
    return tmp_path / "medium"


def test_a_series_of_a_dicomdir_is_chosen_from_its_list(medium, two_series):
    error = refused(medium / "DICOMDIR")
    assert error.code == "mixed_series"
    label = str(error).rsplit("choose=", 1)[1]
    scan = read_scan(f"{medium / 'DICOMDIR'}#{label}")
    assert np.array_equal(scan.voxels, read_scan(f"{two_series}#{label}").voxels)
    assert np.array_equal(scan.voxels, read_scan(f"{medium}#{label}").voxels)


def test_a_dicomdir_whose_files_are_gone_or_elsewhere_is_refused(medium):
    label = str(refused(medium / "DICOMDIR")).rsplit("choose=", 1)[1]
    index = pydicom.dcmread(medium / "DICOMDIR")
    for record in index.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            record.ReferencedFileID = ["..", "..", "PASSWD"]
    index.save_as(medium / "DICOMDIR")
    assert refused(f"{medium / 'DICOMDIR'}#{label}").code == "unsupported"


@pytest.mark.parametrize(
    "lost",
    ["DirectoryRecordSequence", "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity"],
)
def test_a_dicomdir_without_its_records_is_unreadable(medium, lost):
    index = pydicom.dcmread(medium / "DICOMDIR")
    delattr(index, lost)
    index.save_as(medium / "DICOMDIR")
    assert refused(medium / "DICOMDIR").code == "unreadable"


def hostile(path, **changed):
    """An archive whose only member has attributes that no scanner gives it."""
    member = zipfile.ZipInfo(changed.pop("name", "a.dcm"))
    for name, value in changed.items():
        setattr(member, name, value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"content")
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "../a.dcm"},
        {"name": "/etc/a.dcm"},
        {"name": "a/../../b.dcm"},
        {"name": "C:/a.dcm"},
        {"name": "a\\..\\b.dcm"},
        {"external_attr": (stat.S_IFLNK | 0o777) << 16},
        {"compress_type": zipfile.ZIP_LZMA},
    ],
)
def test_an_archive_that_reaches_out_is_refused(tmp_path, changed):
    assert refused(hostile(tmp_path / "a.zip", **changed)).code == "unsupported"
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_a_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.dcm", b"one")
        archive.writestr("a.dcm", b"two")
    assert refused(tmp_path / "a.zip").code == "unsupported"


def test_a_bomb_is_refused_by_what_it_declares(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(2**27))
    assert refused(tmp_path / "a.zip").code == "too_large"


def test_an_archive_of_too_many_members_is_refused_before_they_are_listed(tmp_path):
    path = hostile(tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, len(content) - 10, 2**30)
    path.write_bytes(content)
    assert refused(path).code == "too_large"


def test_a_damaged_archive_is_read_or_refused_but_never_crashes(new_series, refusals, tmp_path):
    path = zipped(new_series(Modality.MRI), tmp_path / "a.zip")
    content = path.read_bytes()
    random = np.random.default_rng(13)

    def damaged(number: int) -> bytes:
        changed = bytearray(content[: -1 - number] if number % 3 == 0 else content)
        for offset in random.integers(0, len(changed), size=4):
            changed[offset] = int(random.integers(256))
        return bytes(changed)

    said = refusals(path, map(damaged, range(150)))
    assert len(said) > 75
    assert not any("CANARY" in message for message in said)


def test_a_deflated_file_that_is_a_bomb_is_refused(real_scans, tmp_path):
    import zlib

    folder = real_scans / "oddities" / "cornerstone"
    [source] = [path for path in folder.iterdir() if "Deflated" in path.name]
    content = source.read_bytes()
    start = 144 + struct.unpack("<I", content[140:144])[0]
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path = tmp_path / "a.dcm"
    path.write_bytes(content[:start] + bomb.compress(bytes(2**26)) + bomb.flush())
    assert refused(path).code == "too_large"


def test_a_file_of_elements_without_end_is_refused_at_once(new_series, tmp_path):
    content = (new_series(Modality.CT) / "0001.dcm").read_bytes()
    empty = struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 0)
    (tmp_path / "a.dcm").write_bytes(content + 2_000_000 * empty)
    start = time.process_time()
    assert refused(tmp_path / "a.dcm").code == "too_large"
    assert time.process_time() - start < 3


def test_a_compressed_frame_of_another_size_than_declared_is_refused(real_scans, tmp_path):
    folder = real_scans / "oddities" / "cornerstone"
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated and "RLE" not in path.name:
            dataset.Rows = 256
            dataset.save_as(tmp_path / "a.dcm")
            assert "Rows x Columns" in str(refused(tmp_path / "a.dcm"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pydicom_logs_no_value_of_a_header(new_series, caplog):
    path = new_series(Modality.CT) / "0001.dcm"
    content = path.read_bytes()
    uid = str(pydicom.dcmread(path).FrameOfReferenceUID).encode()
    path.write_bytes(content.replace(uid[:13], b"CANARY^SECRET"))
    with caplog.at_level(logging.DEBUG):
        read_scan(path)
    assert "CANARY" not in caplog.text
