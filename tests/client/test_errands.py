"""What the client's command line makes of paths, archives and terminals, without a service."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from amir.client.errands import errands_of
from amir.client.events import events_of
from amir.client.progress import ProgressBar
from amir.client.saving import new_path
from amir.client.series import unzip, zipped

DICOM = bytes(128) + b"DICM"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two volumes, a series in a folder of its own, and what no service takes."""
    top = tmp_path / "in"
    (top / "ct").mkdir(parents=True)
    for name in ("a.nii.gz", "b.nii", "notes.txt"):
        (top / name).write_bytes(b"x")
    for name in ("IM2", "IM1"):
        (top / "ct" / name).write_bytes(DICOM + name.encode())
    return top


def test_a_folder_is_a_list_of_files_and_series(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    errands = errands_of(folder, out)
    assert [(errand.name, errand.out, errand.is_series) for errand in errands] == [
        ("a.nii.gz", out / "a.nii.gz", False),
        ("b.nii", out / "b.nii", False),
        ("ct", out / "ct", True),
    ]
    assert [path.name for path in errands[2].files] == ["IM1", "IM2"]


def test_a_folder_of_one_series_becomes_the_folder_that_was_named(
    folder: Path, tmp_path: Path
) -> None:
    (errand,) = errands_of(folder / "ct", tmp_path / "restored")
    assert errand.out == tmp_path / "restored"


def test_a_file_may_be_restored_into_a_folder(folder: Path, tmp_path: Path) -> None:
    assert errands_of(folder / "b.nii", tmp_path)[0].out == tmp_path / "b.nii"


def test_nothing_is_overwritten_and_resuming_leaves_out_what_is_there(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.nii").write_bytes(b"done")
    with pytest.raises(FileExistsError, match=r"b\.nii exists"):
        errands_of(folder, out)
    assert [errand.name for errand in errands_of(folder, out, resume=True)] == ["a.nii.gz", "ct"]


def test_paths_that_hold_nothing_to_restore_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"notes\.txt: the service takes"):
        errands_of(folder / "notes.txt", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        errands_of(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="bare holds no file"):
        errands_of(tmp_path / "bare", tmp_path / "out")


def test_a_series_is_zipped_the_same_each_time_and_without_its_names(folder: Path) -> None:
    files = [folder / "ct" / "IM1", folder / "ct" / "IM2"]
    with zipped(files) as first, zipped(files) as second:
        assert first.read_bytes() == second.read_bytes()
        with zipfile.ZipFile(first) as archive:
            assert archive.namelist() == ["00000.dcm", "00001.dcm"]
            assert archive.read("00001.dcm") == DICOM + b"IM2"
    assert not first.exists()


def test_an_archive_is_unpacked_into_a_new_folder(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("series/1.dcm", b"one")
    unzip(archive, tmp_path / "out")
    assert (tmp_path / "out" / "series" / "1.dcm").read_bytes() == b"one"


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "link"])
def test_an_archive_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a.zip"
    member = zipfile.ZipInfo(name)
    if name == "link":
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(member, b"/etc/passwd")
    with pytest.raises(ValueError, match="leads out of the folder"):
        unzip(archive, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil"))


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with new_path(tmp_path / "out.nii") as beside:
            beside.write_bytes(b"half")
            raise OSError("cable pulled")

    with pytest.raises(OSError, match="cable"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_events_are_read_as_the_standard_says() -> None:
    stream = b": alive\n\nid: 4\nevent: progress\ndata: {\ndata: }\n\ndata:x\r\n\r\n"
    events = [(event.id, event.name, event.data) for event in events_of(io.BytesIO(stream))]
    assert events == [("4", "progress", "{\n}"), ("4", "message", "x")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar_and_a_file_sees_lines() -> None:
    terminal, file = Terminal(), io.StringIO()
    for output in (terminal, file):
        bar = ProgressBar("scan.nii", output)
        bar.restoring(1, 4)
        bar.restoring(2, 4)
        bar.restoring(4, 4)
        bar.say("-> out.nii")
    assert "\r" in terminal.getvalue()
    assert "█" * 30 in terminal.getvalue()
    assert file.getvalue().splitlines() == [
        "scan.nii: restoring 1 of 4 slices",
        "scan.nii: restoring 4 of 4 slices",
        "scan.nii: -> out.nii",
    ]
