"""One DICOM file to its header, or with its pixel data; damage becomes an InputError."""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import count
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from amir.errors import InputError
from amir.imaging.scan import MAX_VOXELS

# What a deflated file may grow to: as members of a zip, and never more than the largest volume.
_MAX_INFLATION = 100
_MAX_INFLATED = 2 * MAX_VOXELS
_ALWAYS_INFLATED = 2**24
_PIECE = 2**20

# Of one file's top level; the richest headers have some hundreds, and each costs microseconds.
_MOST_ELEMENTS = 50_000

_TRANSFER_SYNTAX = 0x00020010
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # as floats, as doubles, as integers


@contextmanager
def nothing_quoted() -> Iterator[None]:
    """Around all that reads or writes: pydicom's warnings quote values, and one can be a name.

    It sends them to its logger too, which stays silent from then on.
    """
    logger = logging.getLogger("pydicom")
    if logger.level != logging.CRITICAL:  # setting it makes every logger think anew
        logger.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def refused_when_garbled(name: str) -> Iterator[None]:
    """What pydicom raises on a damaged file becomes an InputError that quotes none of it."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        message = f"{name} is not readable DICOM ({type(error).__name__}); export it again"
        raise InputError("unreadable", message) from None


def read_header(open_file: Callable[[], BinaryIO], name: str) -> Dataset:
    """All that stands before the pixel data."""
    return _read(open_file, name, header_only=True)


def read_whole(open_file: Callable[[], BinaryIO], name: str) -> Dataset:
    return _read(open_file, name, header_only=False)


def _read(open_file: Callable[[], BinaryIO], name: str, *, header_only: bool) -> Dataset:
    with refused_when_garbled(name), open_file() as file:
        stream = _inflated(file, name)
        dataset = read_partial(stream, stop_when=_stop(name, header_only=header_only))
        # It would keep the file open and be copied with the header.
        dataset.buffer = None
        return dataset


def _stop(name: str, *, header_only: bool) -> Callable[[BaseTag, str | None, int], bool]:
    """Whether to stop before an element; InputError("too_large") where there is no end of them."""
    read = count()

    def stop(tag: BaseTag, *_: object) -> bool:
        if next(read) > _MOST_ELEMENTS:
            message = f"{name} has more than {_MOST_ELEMENTS} elements; export it again"
            raise InputError("too_large", message)
        return header_only and tag in _PIXELS

    return stop


def _inflated(file: BinaryIO, name: str) -> BinaryIO:
    """The file itself, or what a deflated one holds: pydicom would inflate without a limit."""
    meta = file.read(132)
    elements = list(
        data_element_generator(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    )
    syntaxes = [item.value for item in elements if item.tag == _TRANSFER_SYNTAX]
    end = file.tell()
    file.seek(0)
    if not any(_is_deflated(syntax) for syntax in syntaxes):
        return file
    meta = file.read(end)
    plain, deflated = (
        uid.encode() for uid in (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
    )
    return BytesIO(
        meta.replace(deflated, plain.ljust(len(deflated), b"\0")) + _inflate(file.read(), name)
    )


def _is_deflated(syntax: object) -> bool:
    text = syntax.decode("ascii", "replace") if isinstance(syntax, bytes) else str(syntax)
    return text.strip("\0 ") == DeflatedExplicitVRLittleEndian


def _inflate(packed: bytes, name: str) -> bytes:
    limit = min(_MAX_INFLATED, max(_ALWAYS_INFLATED, _MAX_INFLATION * len(packed)))
    inflater, content = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    # In pieces: zlib gathers all of an answer in blocks before it joins them, and needs twice that.
    while piece := inflater.decompress(packed, _PIECE):
        content += piece
        packed = inflater.unconsumed_tail
        if len(content) > limit:
            message = f"{name} inflates to more than {limit} bytes; export it uncompressed"
            raise InputError("too_large", message)
    return bytes(content)
