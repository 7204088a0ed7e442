"""A DICOM series as the one zip archive that the service takes and gives."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory

MAX_UNPACKED_BYTES = 2**34
_PREAMBLE, _MAGIC = 128, b"DICM"


def dicom_files(folder: Path) -> list[Path]:
    """Files of a folder, not of those below it, that are DICOM by their first bytes or name."""
    return sorted(path for path in folder.iterdir() if path.is_file() and is_dicom(path))


def is_dicom(path: Path) -> bool:
    if path.name.startswith(".") or path.name == "DICOMDIR":
        return False
    with path.open("rb") as file:
        magic = file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:]
    return magic == _MAGIC or path.suffix.lower() in (".dcm", ".ima")


@contextmanager
def zipped(files: list[Path]) -> Iterator[Path]:
    """A temporary archive of the files under numbers, since names can be a patient's.

    The same files give the same bytes.
    """
    with TemporaryDirectory(prefix="amir-") as folder:
        archive = Path(folder) / "series.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zip_file:
            for number, path in enumerate(files):
                member = zipfile.ZipInfo(f"{number:05d}.dcm")
                member.compress_type = zipfile.ZIP_DEFLATED
                zip_file.writestr(member, path.read_bytes())
        yield archive


def unzip(archive: Path, folder: Path) -> None:
    """Make the folder and put the archive's files into it; ValueError if one leads out of it."""
    with zipfile.ZipFile(archive) as zip_file:
        members = [member for member in zip_file.infolist() if not member.is_dir()]
        if sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
            raise ValueError(f"the answer unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        folder.mkdir(parents=True)
        for member in members:
            path = folder / _inside(member)
            path.parent.mkdir(parents=True, exist_ok=True)
            with zip_file.open(member) as source, path.open("xb") as target:
                shutil.copyfileobj(source, target)


def _inside(member: zipfile.ZipInfo) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    leads_out = path.is_absolute() or ".." in path.parts or "\\" in member.filename
    if leads_out or PureWindowsPath(path).drive or stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"the answer holds {member.filename!r}, which leads out of the folder")
    return path
