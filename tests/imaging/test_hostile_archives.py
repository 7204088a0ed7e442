"""Fifty archives that attack whoever unpacks them: all refused by name, nothing written."""

from __future__ import annotations

import pytest

from amir.errors import InputError
from amir.imaging import read_scan
from amir.modality import Modality
from benchmarks.mutation.hostile_archives import hostile_archives
from benchmarks.mutation.packed import zipped


@pytest.fixture
def series(new_series) -> list[tuple[str, bytes]]:
    return [(file.name, file.read_bytes()) for file in sorted(new_series(Modality.CT).iterdir())]


def test_every_hostile_archive_is_refused_and_nothing_is_written(series, tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    archives, accepted = hostile_archives(series), []
    assert len(archives) >= 50
    for name, content in archives.items():
        (folder / "a.zip").write_bytes(content)
        try:
            read_scan(folder / "a.zip")
        except InputError:
            continue
        accepted.append(name)
    assert accepted == []
    assert [path.name for path in folder.iterdir()] == ["a.zip"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["series-CT", "uploads"]


def test_a_member_hidden_behind_another_is_missed(series, tmp_path):
    """Python's reader passes over it, and the volume would lack a slice at its end."""
    (tmp_path / "a.zip").write_bytes(hostile_archives(series)["comment as long as can be"])
    with pytest.raises(InputError, match="says it has 5 members and lists 2"):
        read_scan(tmp_path / "a.zip")


def test_the_series_itself_is_read(series, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(series))
    assert read_scan(tmp_path / "a.zip").voxels.shape == (10, 12, 5)
