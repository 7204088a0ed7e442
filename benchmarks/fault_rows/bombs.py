"""F14: what is small to send and large to unpack, and what says it is large."""

from __future__ import annotations

import gzip
import io
import time
import zlib
from collections.abc import Callable

import httpx
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian

from amir.modality import Modality
from benchmarks.fault_rows.attacked import attacked, code_of, send
from benchmarks.fault_rows.clients_leave import sending
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.mutation.packed import zipped
from benchmarks.mutation.strange_numbers import header
from benchmarks.small_service import SmallService

TARGET = "each bomb of 1000:1 and each huge length is refused within 1 s, memory +512 MiB at most"
SECONDS, MEMORY = 1.0, 2**29
_LIMIT = 2**24
LIMITS = {"upload_bytes": _LIMIT}


def run(*, quick: bool) -> Outcome:
    with attacked(limits=LIMITS) as service:
        return check(service, 2**28 if quick else 2**31)


def check(service: SmallService, size: int, *, seconds: float = SECONDS) -> Outcome:
    """size: what the bombs unpack to, in bytes; the service has LIMITS. seconds: for a refusal."""
    slowest, wrong = ("", 0.0), []
    attacks = _attacks(service, size)
    send(service, b"warm")
    before = service.peak_memory()
    for name, attack in attacks.items():
        start = time.monotonic()
        code = attack()
        slowest = max(slowest, (name, time.monotonic() - start), key=lambda item: item[1])
        if code not in EXPECTED.get(name, ("too_large",)):
            wrong.append(f"{name}: {code or 'answered'}")
    growth = service.peak_memory() - before
    figure = (
        f"{len(attacks)} bombs of {size >> 20} MiB; slowest refusal {slowest[1]:.2f} s "
        f"({slowest[0]}), memory +{growth >> 20} MiB; wrong: {', '.join(wrong) or 'none'}"
    )
    holds = service.is_alive() and not wrong and slowest[1] < seconds and growth < MEMORY
    return Outcome(holds, figure)


def _attacks(service: SmallService, size: int) -> dict[str, Callable[[], str]]:
    """By name, what sends something too large and says with which code it was refused."""
    files = bombs(size)
    tensor = files.pop("tensor")
    return {
        name: lambda content=content: code_of(send(service, content, Modality.CT))
        for name, content in files.items()
    } | {
        "gzip of a tensor": lambda: code_of(_send_tensor(service, tensor)),
        "length of 10**15": lambda: _answer_to_length(service, 10**15),
        "length of 10**30": lambda: _answer_to_length(service, 10**30),
        "endless body": lambda: code_of(_send_endless(service)),
    }


# Archives within archives are not opened, so there is nothing in them; an array is refused by the
# length of its file before the limit is looked at.
EXPECTED = {
    "zip in zip": ("empty",),
    "array declared": ("unreadable", "too_large"),
    "length of 10**30": ("too_large", "unreadable"),
}


def bombs(size: int) -> dict[str, bytes]:
    """By name, files that unpack to so many zeros."""
    zeros = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = b"".join(zeros.compress(bytes(2**24)) for _ in range(size >> 24)) + zeros.flush()
    voxels = (512, 512, size >> 20)
    archive = _zip_of(packed, size)
    return {
        "zip": archive,
        "zip in zip": zipped([(f"{number}.zip", archive) for number in range(4)]),
        "nifti": gzip.compress(header(voxels)) + _gzip_of(packed, size),
        "nifti declared": gzip.compress(header((30_000, 30_000, 30_000))),
        "deflated DICOM": _deflated_dicom(packed),
        "array declared": _array_head("(100000, 100000, 1000)"),
        "tensor": _gzip_of(packed, size),
    }


def _zip_of(packed: bytes, size: int) -> bytes:
    """One member whose packed bytes are given: Python would take long to pack them again."""
    content = bytearray(zipped([("a.dcm", b"")]))
    entry = content.find(b"PK\1\2")
    for start, place in ((0, 14), (entry, 16)):
        sums = zlib.crc32(b"").to_bytes(4, "little") + len(packed).to_bytes(4, "little")
        content[start + place : start + place + 12] = sums + size.to_bytes(4, "little")
    name_end = 30 + len("a.dcm")
    listed = content[entry:]
    listed[-6:-2] = (name_end + len(packed)).to_bytes(4, "little")
    return bytes(content[:name_end]) + packed + bytes(listed)


def _gzip_of(packed: bytes, size: int) -> bytes:
    """Zeros whose sums nobody gets to check."""
    tail = zlib.crc32(b"").to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + packed + tail


def _deflated_dicom(packed: bytes) -> bytes:
    """The zeros after the group of elements that is never packed."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    content = file.getvalue()
    return content[: 144 + int.from_bytes(content[140:144], "little")] + packed


def _array_head(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + bytes(4096)


def _send_tensor(service: SmallService, packed: bytes) -> httpx.Response:
    return httpx.post(
        f"{service.url}/v2/models/champion/infer",
        content=packed,
        headers={"Content-Encoding": "gzip"},
        timeout=60,
    )


def _send_endless(service: SmallService) -> httpx.Response:
    """In chunks, so that no length is announced."""
    parts = (bytes(2**20) for _ in range(64 * _LIMIT >> 20))
    return httpx.post(f"{service.url}/v1/restore", content=parts, timeout=60)


def _answer_to_length(service: SmallService, length: int) -> str:
    """To a request that announces a body and never sends it."""
    with sending(service, length) as client:
        client.settimeout(20)
        answer = client.recv(4096).decode("latin-1")
    head = answer.lower()
    if "x-amir-problem: " in head:
        return head.split("x-amir-problem: ")[1].split("\r\n")[0]
    return "unreadable" if " 400 " in answer.split("\r\n")[0] else answer[:40]
