"""The files that a path means, wherever they lie: a folder, a zip archive, a DICOMDIR or a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from zipfile import ZipFile, ZipInfo

from amir.errors import InputError
from amir.imaging.choice import Choice
from amir.imaging.dicom.directory import files_of_directory, is_directory
from amir.imaging.dicom.parse import read_whole, refused_when_garbled
from amir.imaging.dicom.zip import is_zip, opened_zip
from amir.imaging.scan import MAX_VOXELS

# An uncompressed 16-bit series of the largest volume that is read.
_MAX_BYTES = 2 * MAX_VOXELS
_MAX_FILES = 20_000

# A single file is looked at three times: for its header, its pixels and its digest.
_HELD_BYTES = 2**24

# Names that promise an image; with any other, a file that is not DICOM is passed over.
_DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
_INDEX = "DICOMDIR"


@dataclass(frozen=True)
class DicomFile:
    """name: for messages; the last part of a path, of an archive's member its number alone, because
    its own name can be a patient's. suffix: of its own name. size: bytes. open: a new binary stream
    over it.
    """

    name: str
    suffix: str
    size: int
    open: Callable[[], BinaryIO]


@dataclass(frozen=True)
class FoundFiles:
    """is_picked: the caller named each file, so that none of them may be passed over."""

    files: list[DicomFile]
    is_picked: bool


@contextmanager
def found_files(source: Path | Sequence[Path], choice: Choice) -> Iterator[FoundFiles]:
    """The files of a folder and its subfolders, a zip, a DICOMDIR, a list or a single file.

    In a folder or a zip DICOMDIR, hidden files and what is not DICOM are passed over, but not a
    damaged `.dcm`. The files can be opened while the block runs.
    """
    if isinstance(source, Path) and source.is_file() and is_zip(source):
        with opened_zip(source) as (archive, members):
            shown = [member for member in members if not _is_index(member.filename)]
            files = [_in_zip(archive, member, n) for n, member in enumerate(shown, start=1)]
            yield FoundFiles(_checked([file for file in files if _looks_like_dicom(file)]), False)
        return
    if isinstance(source, Path) and source.is_dir():
        files = [_on_disk(path) for path in _paths_below(source) if not _is_index(path.name)]
        yield FoundFiles(_checked([file for file in files if _looks_like_dicom(file)]), False)
        return
    if isinstance(source, Path) and is_directory(source):
        index = read_whole(_on_disk(source).open, source.name)
        with refused_when_garbled(source.name):
            paths = files_of_directory(index, source, choice)
        yield FoundFiles(_checked([_on_disk(path) for path in paths]), False)
        return
    paths = [source] if isinstance(source, Path) else list(source)
    found = _held(paths[0]) if len(paths) == 1 else None
    yield FoundFiles(_checked([found] if found else [_on_disk(path) for path in paths]), True)


def check_total_size(files: Sequence[DicomFile]) -> None:
    """Refuse a series that no volume within the limit can fill."""
    total = sum(file.size for file in files)
    if total > _MAX_BYTES:
        message = f"the files hold {total} bytes, the limit is {_MAX_BYTES}; read fewer"
        raise InputError("too_large", message)


def _on_disk(path: Path) -> DicomFile:
    def opened() -> BinaryIO:
        return path.open("rb")

    return DicomFile(path.name, path.suffix, path.stat().st_size, opened)


def _held(path: Path) -> DicomFile | None:
    """A file that is read from the disk once; None where it is too large to be held beside."""
    if path.stat().st_size > _HELD_BYTES:
        return None
    content = path.read_bytes()
    return DicomFile(path.name, path.suffix, len(content), lambda: BytesIO(content))


def _in_zip(archive: ZipFile, member: ZipInfo, number: int) -> DicomFile:
    def opened() -> BinaryIO:
        return cast(BinaryIO, archive.open(member))

    suffix = PurePosixPath(member.filename).suffix
    return DicomFile(f"file {number} of the zip", suffix, member.file_size, opened)


def _paths_below(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    )


def _is_index(name: str) -> bool:
    return PurePosixPath(name).name.upper() == _INDEX


def _looks_like_dicom(file: DicomFile) -> bool:
    if file.suffix.lower() in _DICOM_SUFFIXES:
        return True
    with refused_when_garbled(file.name), file.open() as stream:
        return stream.read(132)[128:] == b"DICM"


def _checked(files: list[DicomFile]) -> list[DicomFile]:
    if not files:
        raise InputError("empty", "there is no DICOM file among the files given")
    if len(files) > _MAX_FILES:
        message = f"{len(files)} files are more than the limit of {_MAX_FILES}; give one series"
        raise InputError("too_large", message)
    return files
