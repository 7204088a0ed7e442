"""What preparing a dataset and feeding a trainer cost on this machine: one table, one JSON line.

    python benchmarks/dataset.py           # ten to fifteen minutes, 5 GB of temporary disk
    python benchmarks/dataset.py --quick   # shows that it runs: the figures mean nothing

Everything that is read is generated here. The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from feeding import feeding, idle, memory
from measures import Line, cpu_name, table
from preparing import degrade, ingest, scaling

# Feeding comes before Ray is used: the DataLoaders' workers are forked from this process.
SECTIONS: dict[str, Callable[[Path, bool], Iterator[Line]]] = {
    "ingest": ingest,
    "degrade": degrade,
    "feeding": feeding,
    "idle": idle,
    "memory": memory,
    "scaling": scaling,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny inputs, in seconds")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    chosen = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory(prefix="amir-benchmark-") as folder:
        for name in chosen.only:
            (Path(folder) / name).mkdir()
            for line in SECTIONS[name](Path(folder) / name, chosen.quick):
                print(f"{line.what}: {line.value:.4g} {line.unit}", file=sys.stderr, flush=True)
                lines.append(line)
    print(table(lines))
    print(json.dumps({"cpu": cpu_name(), **{line.name: line.value for line in lines}}))


if __name__ == "__main__":
    main()
