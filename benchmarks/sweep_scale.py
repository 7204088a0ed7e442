"""What a large sweep asks of its controller, its storage and MLflow; nothing is trained.

    python benchmarks/sweep_scale.py           # 500 trials, three to four minutes on two cores
    python benchmarks/sweep_scale.py --quick   # shows that it runs: the figures mean nothing

The trials are stubs that only report, under the search, the scheduler and the record of a sweep.
The cluster believes in 64 GPUs; each stub is a process, so eight of them run at a time here.
`--only sharing` has trials share two GPUs, or take several, and asks for what does not fit;
`--only sqlite`, `server` and `postgresql` are MLflow's part.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from measures import Line, cpu_name, table
from sweep_controller import controller
from sweep_sharing import sharing
from sweep_tracking import server, server_postgresql, sqlite

SECTIONS: dict[str, Callable[[Path, bool], Iterator[Line]]] = {
    "sqlite": sqlite,
    "server": server,
    "postgresql": server_postgresql,
    "controller": controller,
    "sharing": sharing,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few trials, in seconds")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    chosen = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory(prefix="amir-sweep-") as folder:
        for name in chosen.only:
            (Path(folder) / name).mkdir()
            for line in SECTIONS[name](Path(folder) / name, chosen.quick):
                print(f"{line.what}: {line.value:.4g} {line.unit}", file=sys.stderr, flush=True)
                lines.append(line)
    print(table(lines))
    print(json.dumps({"cpu": cpu_name(), **{line.name: line.value for line in lines}}))


if __name__ == "__main__":
    main()
