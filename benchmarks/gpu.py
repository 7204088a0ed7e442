"""The network on a GPU beside the published code: errors, speed, memory, and where the time goes.

    PYTHONPATH=platform python -m benchmarks.gpu --reference CHECKOUT [--only errors] [--json]

CHECKOUT: of Yaziwel/All-In-One-Medical-Image-Restoration-via-Task-Adaptive-Routing; without it only
our own figures are told. Needs neither Ray nor data, and is meant to be called once on a card that
is lent: what fails says so in its row, the tables come last, and with --minutes what would come too
late is left out. `--device cpu --tiny` runs through all of it in a minute, for a test; its figures
mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from benchmarks.gpu_rows.engine import engine_rows
from benchmarks.gpu_rows.errors import error_rows
from benchmarks.gpu_rows.layers import kernel_rows, layer_rows
from benchmarks.gpu_rows.operators import block_rows, operator_rows
from benchmarks.gpu_rows.place import Place, copy_rate, matmul_rate
from benchmarks.gpu_rows.speed import Rates, inference_rows, training_rows
from benchmarks.gpu_rows.table import Row, printed
from benchmarks.gpu_rows.variants import VARIANTS, Variant, load_pair

TITLES = {
    "errors": "Errors beside float64 (2 images, gate noise alike)",
    "inference": "Forward: milliseconds a slice",
    "training": "Training step: milliseconds",
    "operators": "The two operators alone: Triton beside plain torch",
    "blocks": "Sizes of the kernels' blocks",
    "layers": "A forward by kind of layer",
    "kernels": "A forward by kernel",
    "engine": "The engine's forward, copies from and to the host included: milliseconds a slice",
    "curves": "Larger and smaller batches, forward and step",
}
LEFT_OUT: Row = {"failed": "left out: no time was left"}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    place = Place(
        torch.device(options.device),
        rounds=1 if options.tiny else 3 if options.quick else 5,
        seconds=0.3 if options.quick else 1.5,
        tiny=options.tiny,
    )
    torch.manual_seed(0)
    pair = load_pair(options.reference, place)
    rates = Rates(copy_rate(place), matmul_rate(place, torch.bfloat16))
    card = _card(place, rates)
    print(json.dumps(card), flush=True)
    size, crop = (16, 16) if options.tiny else (options.size, options.crop)
    batch = max(options.batch)
    images, side = (1, 4) if options.tiny else (4, size)  # of the operators alone
    usual, fast = list(VARIANTS), _named("bfloat16, tf32", "triton, compiled, graph")
    curve = [2**n for n in range(1 if options.tiny else 6)]
    questions: dict[str, Callable[[], Iterable[Row]]] = {
        "errors": lambda: error_rows(pair, place),
        "inference": lambda: inference_rows(pair, usual, place, rates, options.batch, size),
        "training": lambda: training_rows(pair, usual, place, rates, options.train_batch, crop),
        "operators": lambda: operator_rows(place, rates.copy, images, side),
        "layers": lambda: layer_rows(pair, fast[0], place, batch, size),
        "kernels": lambda: kernel_rows(pair, fast[0], place, batch, size),
        "engine": lambda: engine_rows(pair, usual, place, batch, size),
        "blocks": lambda: block_rows(place, rates.copy, images, side),
        "curves": lambda: [
            *inference_rows(pair, fast, place, rates, curve, size),
            *training_rows(pair, fast, place, rates, curve[1:5], crop),
        ],
    }
    end = time.monotonic() + options.minutes * 60
    tables = {name: _collected(name, questions[name], end) for name in options.only}
    print(f"\n{card['card']}, torch {card['torch']}, triton {card['triton']}, CUDA {card['cuda']}")
    print(
        f"copies {rates.copy:.0f} GB/s, bfloat16 products {rates.matmul:.0f} TFLOP/s, as measured"
    )
    for name, rows in tables.items():
        print(printed(TITLES[name], rows))
    if options.json:
        print(json.dumps(_without_nan({"card": card, **_goals(tables), "tables": tables})))
    rows = [row for table in tables.values() for row in table]
    return 1 if any("failed" in row and not _told(row) for row in rows) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reference", type=Path, help="a checkout of the published code")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=256, help="height and width of a slice")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16], help="slices a forward")
    parser.add_argument("--crop", type=int, default=128, help="height and width of a crop")
    parser.add_argument("--train-batch", type=int, nargs="+", default=[8], help="crops a step")
    parser.add_argument("--only", nargs="+", choices=TITLES, default=list(TITLES), metavar="TABLE")
    parser.add_argument("--quick", action="store_true", help="a fifth of the calls")
    parser.add_argument("--tiny", action="store_true", help="a dry run")
    parser.add_argument("--minutes", type=float, default=60, help="begin no table after so long")
    parser.add_argument("--json", action="store_true", help="everything as one object, last")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu --tiny is a dry run")
    if options.tiny:
        options.batch, options.train_batch = [2], [2]
    return options


def _card(place: Place, rates: Rates) -> Row:
    try:
        from triton import __version__ as triton
    except ImportError:
        triton = "none"
    return {
        "card": place.name(),
        "torch": torch.__version__,
        "triton": triton,
        "cuda": str(torch.version.cuda),
        "copy GB/s": rates.copy,
        "bfloat16 TFLOP/s": rates.matmul,
        "float32 TFLOP/s": matmul_rate(place, torch.float32),
    }


def _collected(name: str, question: Callable[[], Iterable[Row]], end: float) -> list[Row]:
    if time.monotonic() > end:
        return [LEFT_OUT]
    print(f"\n{TITLES[name]}", file=sys.stderr, flush=True)
    rows: list[Row] = []
    try:
        rows.extend(question())
    except Exception as error:  # the other tables are still wanted
        traceback.print_exc(file=sys.stderr)
        rows.append({"failed": f"{type(error).__name__}: {error}"})
    return rows


def _named(*names: str) -> list[Variant]:
    return [variant for name in names for variant in VARIANTS if variant.name == name]


def _goals(tables: dict[str, list[Row]]) -> Row:
    """The best of the largest batch, beside the published code; NaN where it was not measured."""
    best = {}
    for name in ("inference", "training"):
        rows = [row for row in tables.get(name, ()) if "ratio" in row]
        largest = max((row["batch"] for row in rows), default=0)
        ratios = [row["ratio"] for row in rows if row["batch"] == largest and row["ratio"] > 0]
        best[f"{name} ratio"] = min(ratios, default=None)
    errors = [row["max_error"] for row in tables.get("errors", ()) if "max_error" in row]
    return {"ratio": best["inference ratio"], **best, "max_error": max(errors, default=None)}


def _without_nan(value: object) -> object:
    """What was not measured as null, which JSON has."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _told(row: Row) -> bool:
    """Whether a row was left out on purpose."""
    return str(row.get("failed", "")).startswith("left out")


if __name__ == "__main__":
    sys.exit(main())
