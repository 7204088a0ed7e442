"""Compiles every Triton kernel for an H100 without one, and prints what each asks of the card.

Run by `test_triton_compiles`, in a process of its own: the tests' own interprets them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from amir.models.kernels import attention_sums, depthwise, gated_depthwise

FLOAT32 = "*fp32"  # taps and sums, whatever the images are


def compiled(kernel: Any, constants: dict[str, Any], images: dict[str, str], warps: int) -> Any:
    def kind(name: str) -> str:
        if name in constants:
            return "constexpr"
        return images.get(name, FLOAT32 if name.endswith("_of") else "i32")

    places = {name: number for number, name in enumerate(kernel.arg_names)}
    source = ASTSource(
        fn=kernel,
        signature={name: kind(name) for name in kernel.arg_names},
        constexprs={(places[name],): value for name, value in constants.items()},
        attrs={(places[name],): [["tt.divisibility", 16]] for name in images},
    )
    options = {"num_warps": warps, "num_stages": 1}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def spilled(ptx: str) -> int:
    """Bytes that ptxas keeps in slow memory for want of registers."""
    assembler = next(Path(triton.__file__).parent.rglob("ptxas"))
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        told = subprocess.run(
            [assembler, "-v", "--gpu-name=sm_90a", file.name, "-o", "/dev/null"],
            capture_output=True,
            text=True,
            check=True,
        ).stderr
    return sum(map(int, re.findall(r"(\d+) bytes spill", told)))


def main() -> None:
    for images in ("*bf16", "*fp32"):
        blocks = {
            "ROWS": depthwise.ROWS,
            "COLUMNS": depthwise.COLUMNS,
            "CHANNELS": depthwise.CHANNELS,
        }
        kernels: list[tuple[str, Any, dict[str, Any], tuple[str, ...], int]] = [
            ("convolve", depthwise._convolve, blocks, ("x_of", "out_of"), depthwise.WARPS),
            (
                "gradient",
                depthwise._gradient,
                blocks,
                ("gradient_of", "x_of", "out_of"),
                depthwise.WARPS,
            ),
        ]
        for backward in (False, True):
            given = blocks | {"BACKWARD": backward}
            tensors = ("wide_of", "gradient_of", "out_of")
            name = "gate backward" if backward else "gate"
            kernels.append((name, gated_depthwise._gate, given, tensors, depthwise.WARPS))
        for per_head in (42, 84) if images == "*bf16" else (42,):
            given = {
                "ROWS": depthwise.ROWS,
                "COLUMNS": attention_sums._columns(per_head),
                "CHANNELS": attention_sums._padded(per_head),
                "PER_HEAD": per_head,
                "PRECISION": "tf32" if images == "*bf16" else "tf32x3",
            }
            warps = attention_sums.WARPS
            kernels += [
                (f"sums {per_head}", attention_sums._sums, given, ("qkv_of",), warps),
                (
                    f"sums backward {per_head}",
                    attention_sums._sums_gradient,
                    given,
                    ("qkv_of", "out_of"),
                    warps,
                ),
            ]
        for name, kernel, constants, tensors, warps in kernels:
            found = compiled(kernel, constants, dict.fromkeys(tensors, images), warps)
            facts = {"shared": found.metadata.shared, "spilled": spilled(found.asm["ptx"])}
            sys.stdout.write(json.dumps({"kernel": f"{name} {images[1:]}", **facts}) + "\n")


if __name__ == "__main__":
    main()
