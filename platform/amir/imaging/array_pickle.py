"""Read the one array of a pickle without running any of it.

A pickle is a program: it names functions and calls them. Here no name is ever looked up. The few
that NumPy 1, NumPy 2 and PyTorch write to rebuild an array are answered with functions of this
file, every other name refuses the file, and so does everything an array does not need.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from amir.errors import InputError

# A whole-body volume; the authors' slices have less than a megabyte.
MAX_BYTES = 2**28
# An array takes about thirty; a file of many more is no array.
MAX_OPERATIONS = 10_000
# What calls without being named, or reaches outside of the file.
FORBIDDEN_OPERATIONS = {
    *("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"),
    *("NEXT_BUFFER", "READONLY_BUFFER"),
}
NUMBER_TYPES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f2", "f4", "f8"}
STORAGE_TYPES = {
    "ByteStorage": "<u1",
    "CharStorage": "<i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
}
# torch/serialization.py: what a file that is no zip archive begins with.
TORCH_MAGIC, TORCH_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_array_pickle(path: Path) -> NDArray[Any]:
    """The array of numbers that a file holds, pickled by NumPy or as a PyTorch tensor on the CPU.

    InputError("unsupported") names what else the file asks for; nothing of it is executed.
    """
    if path.stat().st_size > MAX_BYTES:
        message = f"{path.name} holds more than {MAX_BYTES} bytes; split it"
        raise InputError("too_large", message)
    try:
        found = _load(path.read_bytes())
    except _RefusedError as refused:
        message = (
            f"{path.name} asks for {refused}, which no array of numbers needs; it was not run. "
            "Do not open this file otherwise, and ask where it comes from"
        )
        raise InputError("unsupported", message) from None
    except (OSError, MemoryError):
        raise
    except Exception as error:
        message = f"{path.name} is not a readable pickle ({type(error).__name__}); fetch it again"
        raise InputError("unreadable", message) from None
    if isinstance(found, _Array):
        found = found.array
    if not isinstance(found, np.ndarray):
        raise InputError("unsupported", f"{path.name} holds no array of numbers")
    return found


class _RefusedError(Exception):
    """The name of what a pickle may not have."""


def _load(data: bytes, *, storages: bool = False) -> Any:
    """The object of one pickle; storages: it may refer to PyTorch's, as their own files do."""
    return _load_next(io.BytesIO(data), storages=storages)


def _load_next(file: io.BytesIO, *, storages: bool = False) -> Any:
    start = file.tell()
    _check_operations(file, storages=storages)
    file.seek(start)
    return _Unpickler(file).load()


def _check_operations(file: io.BytesIO, *, storages: bool) -> None:
    """Read to the end of a pickle: nothing that calls unnamed, nothing larger than the file."""
    length = len(file.getbuffer())
    allowed = {"BINPERSID"} if storages else set()
    for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
        if operation.name in FORBIDDEN_OPERATIONS - allowed:
            raise _RefusedError(f"the operation {operation.name}")
        if count > MAX_OPERATIONS:
            raise _RefusedError(f"more than {MAX_OPERATIONS} operations")
        # The C unpickler makes room for the memo's number before it is used.
        if operation.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > length:
            raise _RefusedError(f"memory for {argument} objects")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        storage = module == "torch" and name in STORAGE_TYPES
        if storage:
            return _Storage(STORAGE_TYPES[name])
        if (module, name) not in ANSWERS:
            raise _RefusedError(f"{module}.{name}")
        return _Answer(ANSWERS[module, name])

    def persistent_load(self, reference: Any) -> Any:
        """PyTorch's ("storage", type, key, "cpu", number of elements, view or None)."""
        kind, storage, key, _, count, *_ = reference
        if kind != "storage" or not isinstance(storage, _Storage):
            raise _RefusedError(f"the reference {kind!r}")
        storage.key, storage.count = str(key), int(count)
        return storage


class _Answer:
    """Stands for a permitted name; a pickle can call it, but not change it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise _RefusedError("a change of a function")


class _NumberType:
    """Stands for numpy.dtype: a plain number of known size, and its byte order."""

    def __init__(self, code: Any) -> None:
        if code not in NUMBER_TYPES:
            raise _RefusedError(f"an array of {code!r}")
        self.code, self.order = str(code), "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


class _Array:
    """Stands for numpy.ndarray between its making and the arrival of its bytes."""

    array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, number_type, by_column, data = state
        self.array = _array(data, number_type, shape, "F" if by_column else "C")


class _Storage:
    """Stands for a PyTorch storage: a flat run of numbers."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.key, self.count = "", 0
        self.numbers: NDArray[Any] = np.empty(0, self.dtype)

    def __setstate__(self, state: object) -> NoReturn:
        raise _RefusedError("a change of a storage")


def _array(data: Any, number_type: Any, shape: Any, order: Any = "C") -> NDArray[Any]:
    if not isinstance(number_type, _NumberType) or not isinstance(data, bytes | bytearray):
        raise _RefusedError("an array of objects")
    numbers = np.frombuffer(bytes(data), number_type.dtype)
    return numbers.reshape([int(n) for n in shape], order="F" if order == "F" else "C")


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Protocols 0 to 2 have no bytes: they write text and encode it."""
    if encoding not in ("latin1", "latin-1"):
        raise _RefusedError(f"the encoding {encoding!r}")
    return text.encode("latin-1")


def _tensor(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> NDArray[Any]:
    """torch._utils._rebuild_tensor_v2: a view of a storage; shape and strides in numbers."""
    if not isinstance(storage, _Storage):
        raise _RefusedError("a tensor without a storage")
    shape, strides = [int(n) for n in shape], [int(n) for n in strides]
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # Each number at most once: repeated ones could fill any memory from a small file.
    if min([offset, *shape, *strides]) < 0 or last >= storage.numbers.size:
        raise ValueError("the tensor reaches beyond its storage")
    if math.prod(shape) > storage.numbers.size:
        raise ValueError("the tensor is larger than its storage")
    size = storage.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage.numbers[offset:], shape, [step * size for step in strides], writeable=False
    )
    return view.copy()


def _torch_file(data: bytes) -> _Storage:
    """torch.storage._load_from_bytes: a storage in PyTorch's older format, five pickles and data.

    Magic number, protocol, what the machine was, the storage, the keys that follow; then per key
    the number of elements (int64) and the elements.
    """
    file = io.BytesIO(data)
    heading = [_load_next(file) for _ in range(3)]
    if heading[:2] != [TORCH_MAGIC, TORCH_PROTOCOL] or not heading[2].get("little_endian"):
        raise ValueError("not a PyTorch storage of a little-endian machine")
    storage = _load_next(file, storages=True)
    keys = _load_next(file)
    if not isinstance(storage, _Storage) or keys != [storage.key]:
        raise ValueError("not one PyTorch storage")
    count = int.from_bytes(file.read(8), "little")
    storage.numbers = np.frombuffer(file.read(), storage.dtype)
    if not count == storage.count == storage.numbers.size:
        raise ValueError("a PyTorch storage of another size than it says")
    return storage


def _nothing(*_: Any) -> dict[str, Any]:
    """collections.OrderedDict, in which a tensor keeps its hooks."""
    return {}


ANSWERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): lambda *_: _Array(),
    ("numpy", "dtype"): lambda code, *_: _NumberType(code),
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy.core.numeric", "_frombuffer"): _array,
    ("numpy._core.numeric", "_frombuffer"): _array,
    ("_codecs", "encode"): _latin1,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _torch_file,
    ("collections", "OrderedDict"): _nothing,
}
