"""Pickled arrays are rebuilt, and no pickle is run: what it would have done does not happen."""

from __future__ import annotations

import builtins
import os
import pickle
import struct
import subprocess
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amir.errors import InputError
from amir.imaging.array_pickle import MAX_BYTES, read_array_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
IMAGE = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that none of the pickles may make."""
    return tmp_path / "it-ran"


def refusal(path: Path, content: bytes, code: str = "unsupported") -> str:
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_array_pickle(path)
    assert caught.value.code == code
    return str(caught.value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        IMAGE,
        np.asfortranarray(IMAGE),
        IMAGE[:, ::2],
        IMAGE.astype(">i2"),
        IMAGE.astype(np.float16),
        IMAGE.astype(np.uint8),
        IMAGE[None].astype(np.float64),
    ],
    ids=["float32", "by column", "strided", "big endian", "float16", "uint8", "float64 [1, H, W]"],
)
def test_a_pickled_array_is_what_numpy_says_it_is(
    array: np.ndarray, protocol: int, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps(array, protocol=protocol))
    found = read_array_pickle(tmp_path / "a.bin")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int16, torch.float64])
def test_a_pickled_tensor_is_what_torch_says_it_is(
    dtype: torch.dtype, protocol: int, tmp_path: Path
) -> None:
    tensor = torch.arange(24).reshape(1, 4, 6).to(dtype)[:, 1:, ::2].transpose(1, 2)
    (tmp_path / "t.bin").write_bytes(pickle.dumps(tensor, protocol=protocol))
    np.testing.assert_array_equal(read_array_pickle(tmp_path / "t.bin"), tensor.numpy())


def test_names_of_numpy_1_are_known(tmp_path: Path) -> None:
    content = pickle.dumps(IMAGE, protocol=2)
    assert b"numpy._core.multiarray" in content or b"numpy.core.multiarray" in content
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old.bin").write_bytes(old)
    np.testing.assert_array_equal(read_array_pickle(tmp_path / "old.bin"), IMAGE)


class Calls:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def attacks(canary: Path) -> dict[str, tuple[Any, str]]:
    """What a file may try, and the name by which it is refused."""
    make = f"open({str(canary)!r}, 'w').close()"
    return {
        "os.system": (Calls(os.system, f"touch {canary}"), "system"),
        "eval": (Calls(builtins.eval, make), ".eval"),
        "exec": (Calls(builtins.exec, make), ".exec"),
        "open": (Calls(builtins.open, str(canary), "w"), "open"),
        "Popen": (Calls(subprocess.Popen, ["touch", str(canary)]), ".Popen"),
        "getattr": (Calls(getattr, "os", "system"), ".getattr"),
        "unpickling again": (Calls(pickle.loads, b"cos\nsystem\n."), "loads"),
        "torch.load": (Calls(torch.load, str(canary)), "torch.serialization.load"),
        "numpy.load": (Calls(np.load, str(canary)), "numpy.load"),
        "beside an array": ([IMAGE, Calls(os.system, f"touch {canary}")], "system"),
        "inside an object array": (
            np.array([Calls(os.system, f"touch {canary}")], dtype=object),
            "system",
        ),
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("attack", attacks(Path("x")))
def test_what_is_no_array_is_refused_by_its_name_and_never_runs(
    attack: str, protocol: int, tmp_path: Path, canary: Path
) -> None:
    harmful, name = attacks(canary)[attack]
    message = refusal(tmp_path / "evil.bin", pickle.dumps(harmful, protocol=protocol))
    assert name in message or "array of 'O" in message
    assert "was not run" in message
    assert not canary.exists()


def test_the_attacks_would_have_worked(tmp_path: Path, canary: Path) -> None:
    pickle.loads(pickle.dumps(attacks(canary)["os.system"][0]))
    assert canary.exists()


def storage_file(kind: bytes = b"FloatStorage") -> bytes:
    """The bytes of three zeros in torch's older format, as in a pickled tensor."""
    stored: bytes = torch.zeros(3).__reduce_ex__(2)[1][0].__reduce__()[1][0]
    return stored.replace(b"FloatStorage", kind)


def tensor_of(stored: bytes, shape: tuple[int, ...] = (3,), offset: int = 0) -> bytes:
    arguments = (Calls(torch.storage._load_from_bytes, stored), offset, shape, (1,) * len(shape))
    rebuild = Calls(torch._utils._rebuild_tensor_v2, *arguments, False, OrderedDict())
    return pickle.dumps(rebuild)


def test_a_tensor_cannot_smuggle_a_call_in_its_storage(tmp_path: Path, canary: Path) -> None:
    (tmp_path / "fine.bin").write_bytes(tensor_of(storage_file()))
    assert read_array_pickle(tmp_path / "fine.bin").tolist() == [0, 0, 0]
    evil = pickle.dumps(Calls(os.system, f"touch {canary}"), protocol=2)
    heading = b"".join(
        pickle.dumps(part, protocol=2)
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    for stored in (evil, heading + evil, storage_file(b"BFloat16Storage")):
        refusal(tmp_path / "evil.bin", tensor_of(stored))
        assert not canary.exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "BINPERSID"),
        (b"Pname\n.", "PERSID"),
        (b"(S'touch x'\nios\nsystem\n.", "INST"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"cnumpy\nndarray\n}X\x01\x00\x00\x00aX\x01\x00\x00\x00bsb.", "a change of a function"),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.", "encoding 'rot13'"),
        (b"cnumpy.core.multiarray\nscalar\n.", "numpy.core.multiarray.scalar"),
        (b"ctorch.storage\n_load_from_bytes\nq\x00" + b"0h\x00" * 20_000 + b".", "more than"),
        (b"I1\nr\xff\xff\xff\x7f.", "memory for 2147483647 objects"),
    ],
)
def test_operations_that_no_array_needs_are_refused(
    content: bytes, name: str, tmp_path: Path
) -> None:
    assert name in refusal(tmp_path / "odd.bin", content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps(IMAGE)[:-20],
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
        tensor_of(storage_file(), (4,)),
        tensor_of(storage_file(), (3,), 1),
        tensor_of(storage_file(), (-1,)),
        tensor_of(storage_file()[:-3]),
        pickle.dumps(torch.zeros(1).expand(10_000, 10_000)),
    ],
    ids=[
        "nothing",
        "text",
        "cut",
        "a huge promise",
        "too long",
        "too far",
        "negative",
        "short",
        "∞",
    ],
)
def test_damaged_files_are_unreadable_and_take_no_memory(content: bytes, tmp_path: Path) -> None:
    assert refusal(tmp_path / "cut.bin", content, "unreadable").startswith("cut.bin is not a read")


def test_what_holds_no_array_is_said_to_hold_none(tmp_path: Path) -> None:
    for harmless in (5, "text", [1.0, 2.0], {"a": 1}, OrderedDict(), None):
        assert "holds no array" in refusal(tmp_path / "x.bin", pickle.dumps(harmless))


def test_a_file_beyond_the_limit_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match=r"large\.bin holds more than") as caught:
        read_array_pickle(path)
    assert caught.value.code == "too_large"


def test_any_damaged_pickle_is_an_array_or_an_error_with_a_code(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    codes: set[Any] = set()
    sound = [pickle.dumps(IMAGE, protocol=2), pickle.dumps(torch.from_numpy(IMAGE))]
    for round_number in range(400):
        content = bytearray(sound[round_number % 2])
        for _ in range(3):
            content[generator.integers(len(content))] = generator.integers(256)
        (tmp_path / "any.bin").write_bytes(content)
        try:
            codes.add(read_array_pickle(tmp_path / "any.bin").size <= 1000)
        except InputError as error:
            codes.add(error.code)
    assert codes == {True, "unsupported", "unreadable"}
