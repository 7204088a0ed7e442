"""Stored values of grey frames: decoded by the codecs we trust, and their possible range.

All JPEG families go through imagecodecs (BSD; OpenJPEG, CharLS and libjpeg-turbo inside): it frees
Python's lock while it decodes, so that slices decode side by side, and knows the retired 12-bit
processes that pydicom has no decoder for. The rest is pydicom's own. gdcm and GPL codecs are never
asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, RLELossless

from amir.errors import InputError
from amir.imaging.dicom.choice import tag_name
from amir.imaging.dicom.codestream import declared_shape

Frame = NDArray[Any]

# Transfer syntax: the function of imagecodecs that decodes it.
_CODECS = {
    "1.2.840.10008.1.2.4.50": "jpeg8_decode",  # JPEG baseline, 8 bits
    "1.2.840.10008.1.2.4.51": "jpeg8_decode",  # JPEG extended, 12 bits
    "1.2.840.10008.1.2.4.53": "jpeg8_decode",  # JPEG spectral selection, retired
    "1.2.840.10008.1.2.4.55": "jpeg8_decode",  # JPEG full progression, retired
    "1.2.840.10008.1.2.4.57": "jpeg8_decode",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "jpeg8_decode",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "jpegls_decode",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": "jpegls_decode",  # JPEG-LS near lossless
    "1.2.840.10008.1.2.4.90": "jpeg2k_decode",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "jpeg2k_decode",  # JPEG 2000
}


def decode_frames(dataset: Dataset, frames: Sequence[int], name: str) -> Iterator[Frame]:
    """[rows, columns] integers of the frames (0 is the first), in ascending order.

    Bits above BitsStored are removed.
    """
    if "PixelData" not in dataset:
        message = f"{name}: {tag_name('PixelData')} is absent; give the images themselves"
        raise InputError("unsupported", message)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    decoded = _compressed if syntax in _CODECS else _native
    for stored in decoded(dataset, syntax, frames, name):
        if stored.shape != (dataset.Rows, dataset.Columns):
            message = f"{name} decodes to {stored.shape}, not {dataset.Rows} x {dataset.Columns}"
            raise InputError("unreadable", message)
        yield _used_bits(stored, dataset)


def stored_limits(dataset: Dataset) -> tuple[int, int]:
    """Smallest and largest value that BitsStored and PixelRepresentation allow."""
    bits = int(dataset.BitsStored)
    if dataset.PixelRepresentation == 1:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _native(dataset: Dataset, syntax: UID, frames: Sequence[int], name: str) -> Iterator[Frame]:
    if syntax.is_encapsulated and syntax != RLELossless:
        message = (
            f"{name}: {tag_name('TransferSyntaxUID')} is {syntax.name[:64]}, for which there is no "
            "trusted decoder; decompress it first"
        )
        raise InputError("unsupported", message)
    plugin = "pydicom" if syntax.is_encapsulated else ""
    decoder = get_decoder(syntax)
    for stored, _ in decoder.iter_array(dataset, raw=True, indices=frames, decoding_plugin=plugin):
        yield stored


def _compressed(dataset: Dataset, syntax: UID, frames: Sequence[int], name: str) -> Iterator[Frame]:
    decode, shape = _codec(_CODECS[syntax]), (int(dataset.Rows), int(dataset.Columns))
    wanted = set(frames)
    count = int(dataset.get("NumberOfFrames") or 1)
    tables = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    offsets = (tables[0], tables[1]) if all(tables) else None
    encoded = generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=offsets)
    for index, frame in enumerate(encoded):
        if index not in wanted:
            continue
        if declared_shape(frame, name) != shape:
            message = f"{name}: a compressed frame is not of Rows x Columns {shape}"
            raise InputError("unreadable", message)
        yield decode(frame)
        wanted.remove(index)
    if wanted:
        message = f"{name} lacks {len(wanted)} of its {tag_name('NumberOfFrames')} frames"
        raise InputError("unreadable", message)


def _codec(name: str) -> Callable[[bytes], Frame]:
    import imagecodecs

    codec: Callable[[bytes], Frame] = getattr(imagecodecs, name)
    return codec


def _used_bits(stored: Frame, dataset: Dataset) -> Frame:
    """Old scanners keep overlays above BitsStored, and some codecs do not know of signs."""
    bits, is_signed = int(dataset.BitsStored), dataset.PixelRepresentation == 1
    if bits == 8 * stored.dtype.itemsize and is_signed == (stored.dtype.kind == "i"):
        return stored
    values: NDArray[np.int32] = stored.astype(np.int32)
    if is_signed:
        values = np.right_shift(np.left_shift(values, 32 - bits), 32 - bits)
    else:
        values = np.bitwise_and(values, 2**bits - 1)
    return values
