"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from amir import durable
from amir.errors import InputError


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "scores.json"
    durable.write_text(path, "old")
    with durable.new_file(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(path.parent) == ["scores.json"]


def test_a_file_that_fails_halfway_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(TypeError), durable.new_file(path) as beside:
        beside.write_text(b"not text")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert names(tmp_path) == ["scores.json"]


@pytest.mark.parametrize("name", ["scan.nii.gz", "SCAN.NII.GZ", "shard.parquet", "no suffix"])
def test_the_name_beside_is_hidden_and_keeps_the_suffixes(name: str, tmp_path: Path) -> None:
    with durable.new_file(tmp_path / name) as beside:
        assert beside.name.startswith(".")
        assert beside.suffixes[-2:] == [".partial", *Path(name).suffixes][-2:]
        beside.touch()


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    with durable.new_folder(tmp_path / "series") as beside:
        (beside / "sub").mkdir()
        (beside / "sub" / "0001.dcm").write_text("slice")
        assert not (tmp_path / "series").exists()
    assert (tmp_path / "series" / "sub" / "0001.dcm").read_text() == "slice"
    assert names(tmp_path) == ["series"]


def test_a_new_folder_may_fill_an_empty_one_but_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    with durable.new_folder(folder) as beside:
        (beside / "a").touch()
    with pytest.raises(InputError, match=r"series exists .* choose another output"):
        durable.new_folder(folder)
    with pytest.raises(InputError):
        durable.new_folder(folder / "a")


def test_a_replaced_folder_holds_the_new_alone(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with durable.replaced_folder(tmp_path / "100") as beside:
            (beside / content).touch()
    assert names(tmp_path) == ["100"]
    assert names(tmp_path / "100") == ["new"]


def test_a_folder_that_fails_halfway_leaves_the_old_one(tmp_path: Path) -> None:
    with durable.replaced_folder(tmp_path / "100") as beside:
        (beside / "old").touch()
    with pytest.raises(FileNotFoundError), durable.replaced_folder(tmp_path / "100") as beside:
        (beside / "no folder" / "new").touch()
    assert names(tmp_path) == ["100"]
    assert names(tmp_path / "100") == ["old"]


def test_a_killed_process_leaves_only_a_hidden_name(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from amir import durable\n"
        "with durable.new_file(Path(sys.argv[1])) as beside:\n"
        "    beside.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "file.txt")], timeout=60)
    assert done.returncode == -9
    assert all(name.startswith(".") for name in names(tmp_path))


@pytest.mark.parametrize("kind", [durable.new_file, durable.new_folder, durable.replaced_folder])
def test_a_full_disk_is_an_error_with_its_name_and_leaves_nothing(
    kind: Callable[[Path], AbstractContextManager[Path]], small_disk: Path
) -> None:
    with (
        pytest.raises(InputError, match=r"no room .* out\.bin") as caught,
        kind(small_disk / "out.bin") as beside,
    ):
        (beside / "part" if beside.is_dir() else beside).write_bytes(bytes(1_000_000))
    assert caught.value.code == "disk_full"
    assert names(small_disk) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_quota_found_when_flushing_is_a_full_disk_too(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(number, "full")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(InputError) as caught:
        durable.write_text(tmp_path / "file.txt", "text")
    assert caught.value.code == "disk_full"
    assert names(tmp_path) == []


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        durable.write_text(tmp_path / "file" / "below", "text")


def test_the_digest_is_the_contents(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert durable.sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")
