"""Triton's compiler and ptxas take every kernel for an H100, and it fits; no GPU is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("compile_kernels.py")
SHARED_MEMORY = 227 * 1024  # bytes that a block may have on an H100
MOST_SPILLED = 64  # bytes a thread


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_kernel_compiles_for_an_h100_and_fits(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kernels = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kernels) == 14
    assert [k for k in kernels if k["shared"] > SHARED_MEMORY] == []
    assert [k for k in kernels if k["spilled"] > MOST_SPILLED] == []
