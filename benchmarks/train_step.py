"""A training step: our time and memory beside the published code's, errors, where the time is.

    python benchmarks/train_step.py --reference CHECKOUT --size 128x128 --batch 2 [--dtype bfloat16]
        [--recompute] [--layer encoder.0.0.feed_forward] [--layers]

Forward, backward and update; the published code with its own Adam, ours with the trainer's. For
CHECKOUT and how the two are timed see benchmarks/inference.py.
"""

from __future__ import annotations

import argparse

import torch
from beside_published import options, run, shares, work_of
from network_work import prepared
from torch.profiler import ProfilerActivity, profile

MOST_ROWS = 25


def main() -> None:
    parser = options(__doc__.splitlines()[0], size=(128, 128), batch=2)
    parser.add_argument("--recompute", action="store_true", help="blocks keep their input alone")
    chosen = parser.parse_args()
    if chosen.layers:
        print(_operators(chosen))
        return
    run(chosen, "step")


def _operators(chosen: argparse.Namespace) -> str:
    """Seconds of the second of two steps, by torch's operators."""
    torch.set_num_threads(chosen.threads)
    step = prepared(work_of(chosen, "step"))
    step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    rows = [(event.key, event.self_cpu_time_total / 1e6) for event in profiled.key_averages()]
    return shares(sorted(rows, key=lambda row: -row[1])[:MOST_ROWS])


if __name__ == "__main__":
    main()
