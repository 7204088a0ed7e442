"""Find the DICOM files of a series and parse each into a header and its undecoded pixel data."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.uid import MediaStorageDirectoryStorage

from amir.errors import InputError
from amir.imaging.dicom_slice import Slice
from amir.imaging.scan import MAX_VOXELS

# An uncompressed 16-bit series of the largest volume that is read.
_MAX_BYTES = 2 * MAX_VOXELS

# Names that promise an image; with any other, a file that is not DICOM is passed over.
_DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}


@contextmanager
def refused_when_garbled(name: str) -> Iterator[None]:
    """What pydicom raises on a damaged file becomes an InputError that quotes none of it."""
    with warnings.catch_warnings():
        # pydicom's warnings quote values, and a value can be the patient's name.
        warnings.simplefilter("ignore")
        try:
            yield
        except (InputError, MemoryError):
            raise
        except Exception as error:
            message = f"{name} is not readable DICOM ({type(error).__name__}); export it again"
            raise InputError("unreadable", message) from None


def read_slices(source: Path | Sequence[Path]) -> list[Slice]:
    """Every image of a folder and its subfolders, a list of files or one file, in no given order.

    In a folder, DICOMDIR, hidden files and what is not DICOM are passed over, but not a damaged
    `.dcm`.
    """
    if isinstance(source, Path) and source.is_dir():
        paths = [path for path in _files_below(source) if _looks_like_dicom(path)]
    else:
        paths = [source] if isinstance(source, Path) else list(source)
    if not paths:
        raise InputError("empty", "there is no DICOM file among the files given")
    _check_size(paths)
    return [_read_slice(path) for path in paths]


def _files_below(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    )


def _looks_like_dicom(path: Path) -> bool:
    if path.name == "DICOMDIR":
        return False
    with path.open("rb") as file:
        has_preamble = file.read(132)[128:] == b"DICM"
    return has_preamble or path.suffix.lower() in _DICOM_SUFFIXES


def _check_size(paths: Sequence[Path]) -> None:
    total = sum(path.stat().st_size for path in paths)
    if total > _MAX_BYTES:
        message = f"the files hold {total} bytes, the limit is {_MAX_BYTES}; read fewer"
        raise InputError("too_large", message)


def _read_slice(path: Path) -> Slice:
    content = path.read_bytes()
    with refused_when_garbled(path.name):
        dataset = pydicom.dcmread(BytesIO(content))
        if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            message = f"{path.name} is a DICOMDIR, an index; give the folder of its images"
            raise InputError("unsupported", message)
        # It would keep the whole file in memory and be copied with the header.
        dataset.buffer = None
        return Slice.parse(dataset, path.name, hashlib.sha256(content).hexdigest())
