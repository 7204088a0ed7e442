"""Stored values of a classic slice: decoded by the codecs we trust, and their possible range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, JPEGBaseline8Bit

from amir.errors import InputError

# Best first. gdcm is left out: it is not to be fed untrusted input. Pillow knows 8 bits only.
_TRUSTED_PLUGINS = ("pylibjpeg", "pyjpegls", "pydicom")
_TRUSTED_FOR_8_BITS = (*_TRUSTED_PLUGINS, "pillow")


def decode_stored(dataset: Dataset, name: str) -> NDArray[Any]:
    """[rows, columns] integers as stored, bits above BitsStored removed."""
    syntax = dataset.file_meta.TransferSyntaxUID
    plugin = _plugin(syntax, name) if syntax.is_encapsulated else ""
    stored, _ = get_decoder(syntax).as_array(dataset, raw=True, decoding_plugin=plugin)
    if stored.shape != (dataset.Rows, dataset.Columns):
        message = f"{name} decodes to {stored.shape}, not {dataset.Rows} x {dataset.Columns}"
        raise InputError("unreadable", message)
    return _used_bits(stored, dataset)


def stored_limits(dataset: Dataset) -> tuple[int, int]:
    """Smallest and largest value that BitsStored and PixelRepresentation allow."""
    bits = int(dataset.BitsStored)
    if dataset.PixelRepresentation == 1:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _plugin(syntax: UID, name: str) -> str:
    trusted = _TRUSTED_FOR_8_BITS if syntax == JPEGBaseline8Bit else _TRUSTED_PLUGINS
    available = _available_plugins(syntax)
    for plugin in trusted:
        if plugin in available:
            return plugin
    message = (
        f"{name}: TransferSyntaxUID (0002,0010) is {syntax.name}, for which no trusted decoder is "
        "installed; decompress it first"
    )
    raise InputError("unsupported", message)


def _available_plugins(syntax: UID) -> tuple[str, ...]:
    try:
        plugins: tuple[str, ...] = get_decoder(syntax).available_plugins
    except NotImplementedError:
        return ()
    return plugins


def _used_bits(stored: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """Old scanners keep overlays in the bits above BitsStored."""
    bits = int(dataset.BitsStored)
    if bits == dataset.BitsAllocated:
        return stored
    values: NDArray[np.int32] = stored.astype(np.int32)
    if dataset.PixelRepresentation == 1:
        values = np.right_shift(np.left_shift(values, 32 - bits), 32 - bits)
    else:
        values = np.bitwise_and(values, 2**bits - 1)
    return values
