"""What must hold when things break: each fault is made, and its figure printed beside its target.

    PYTHONPATH=platform python -m benchmarks.faults [--only F7 F9] [--quick]

Exit code 0 when every target holds, else 1. --quick: a tenth of the loops, for every day.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time

# In the order of the table of faults; a module has TARGET and run(quick=...) -> Outcome.
ROWS = {
    "F1": "worker_dies",
    "F2": "driver_dies",
    "F3": "node_lost",
    "F4": "killed_while_saving",
    "F5": "damaged_checkpoints",
    "F6": "damaged_shards",
    "F7": "replicas_die",
    "F8": "serve_dies",
    "F9": "model_swap",
    "F10": "bad_candidate",
    "F11": "mlflow_away",
    "F12": "disk_full",
    "F13": "clients_leave",
    "F14": "bombs",
    "F15": "archives",
    "F16": "mutants",
    "F17": "numbers",
    "F18": "headers",
    "F19": "sizes",
    "F20": "memory_pressure",
    "F21": "overload",
    "F23": "asked_twice",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--quick", action="store_true", help="a tenth of the loops")
    chosen = parser.parse_args()
    held = [holds(name, quick=chosen.quick) for name in chosen.only]
    return 0 if all(held) else 1


def holds(name: str, *, quick: bool) -> bool:
    row = importlib.import_module(f"benchmarks.fault_rows.{ROWS[name]}")
    start = time.monotonic()
    outcome = row.run(quick=quick)
    word = "holds" if outcome.holds else "FAILS"
    print(f"{name} {word} in {time.monotonic() - start:.0f} s: {outcome.figure}")
    print(f"    target: {row.TARGET}", flush=True)
    return bool(outcome.holds)


if __name__ == "__main__":
    sys.exit(main())
