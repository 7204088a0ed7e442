"""A process keeps what it frees, or goes on as before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from amir import allocator

FAULTS = """
import resource, sys
from amir.allocator import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    print("cannot")
    sys.exit()
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 * 2**20)  # zeroed by calloc: touched below
    block[::4096] = b"x" * len(block[::4096])
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(way: str, environment: dict[str, str] | None = None) -> str:
    """Page faults of using 64 MiB for the fourth time."""
    command = [sys.executable, "-c", FAULTS, way]
    told = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return told.stdout.strip()


def test_memory_that_was_freed_is_used_again() -> None:
    kept = faults("keep")
    if kept == "cannot":
        pytest.skip("the C library is not glibc")
    assert int(kept) < 100 < int(faults("default"))
    assert int(faults("default", allocator.ENVIRONMENT)) < 100


def test_nothing_happens_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_freed_memory()
    allocator.give_back_freed_memory()
