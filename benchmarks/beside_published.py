"""Times of the published code and of ours, taken in turn, and how far their results lie apart."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measures import cpu_name
from network_work import BALANCE_WEIGHT, SEED, Work, image, our_network, published_network
from torch import Tensor, nn

from amir.allocator import ENVIRONMENT
from amir.losses import restoration_loss
from amir.models.amir import AMIR
from amir.models.economy import choose_precision, choose_recomputation
from amir.models.published import from_published

WORKER = Path(__file__).with_name("network_work.py")
RATIOS = {"ours": "ratio", "ours, default allocator": "ratio_default_allocator"}
CHECKED = (64, 64)  # compared in float64 too, whose depthwise convolutions are slow


@dataclass
class Timed:
    """A process at work. seconds: of each round, and of CPUs. grown: bytes that the work added at
    its peak.
    """

    process: subprocess.Popen[str]
    before: int = 0
    grown: int = 0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def once(self) -> tuple[float, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, cpu_seconds = map(float, self._line().split())
        return seconds, cpu_seconds

    def measure(self) -> None:
        seconds, cpu_seconds = self.once()
        self.seconds.append(seconds)
        self.cpu_seconds.append(cpu_seconds)

    def join(self, earlier: Timed) -> None:
        self.seconds = earlier.seconds + self.seconds
        self.cpu_seconds = earlier.cpu_seconds + self.cpu_seconds
        self.grown = max(self.grown, earlier.grown)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.grown = int(self._line()) - self.before
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit("a worker ended before its work did; its own words are above")
        return line


@contextmanager
def at_work(work: Work, *, keeps_memory: bool) -> Iterator[Timed]:
    environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    if work.busy_machine:
        environment |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    process = subprocess.Popen(
        [sys.executable, str(WORKER), work.as_json()],
        env=environment | (ENVIRONMENT if keeps_memory else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        timed = Timed(process)
        timed.before = int(timed._line())
        yield timed
    finally:
        process.kill()
        process.wait()


def ways_of(work: Work) -> dict[str, tuple[Work, bool]]:
    """Ours as it runs, ours with the allocator as it comes, and the published code."""
    ways = {"ours": (work, True), "ours, default allocator": (work, False)}
    if work.reference:
        published = replace(work, code="published", dtype="float32", recompute=False)
        ways = {"published": (published, False), **ways}
    return ways


def timed_in_turn(work: Work, rounds: int) -> dict[str, Timed]:
    with ExitStack() as stack:
        found = {
            name: stack.enter_context(at_work(way, keeps_memory=keeps))
            for name, (way, keeps) in ways_of(work).items()
        }
        for timed in found.values():
            timed.once()  # nothing is warm in the first
        for number in range(rounds):
            order = list(found.values())
            for timed in order if number % 2 else reversed(order):
                timed.measure()
        for timed in found.values():
            timed.end()
    return found


def timed_apart(work: Work, rounds: int) -> dict[str, Timed]:
    """The same where memory is too small for all of them: each ends before the next one starts."""
    found: dict[str, Timed] = {}
    for _ in range(rounds):
        for name, (way, keeps) in ways_of(work).items():
            with at_work(way, keeps_memory=keeps) as timed:
                timed.once()
                timed.measure()
                timed.end()
            if name in found:
                timed.join(found[name])
            found[name] = timed
    return found


def figures(found: dict[str, Timed]) -> dict[str, float]:
    """Medians, and the median over the rounds of each round's ratio."""
    facts: dict[str, float] = {}
    for name, timed in found.items():
        key = name.replace(", default allocator", "_default_allocator")
        facts[f"{key}_seconds"] = median(timed.seconds)
        facts[f"{key}_cpu_seconds"] = median(timed.cpu_seconds)
        facts[f"{key}_peak_bytes"] = timed.grown
    if "published" in found:
        theirs = found["published"]
        for name, key in (
            ("ours", "ratio"),
            ("ours, default allocator", "ratio_default_allocator"),
        ):
            mine = found[name]
            ratios = _ratios(mine.seconds, theirs.seconds)
            facts |= {key: median(ratios), f"{key}_low": min(ratios), f"{key}_high": max(ratios)}
            facts[f"cpu_{key}"] = median(_ratios(mine.cpu_seconds, theirs.cpu_seconds))
        facts["memory_ratio"] = found["ours"].grown / max(1, theirs.grown)
    return facts


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def table(found: dict[str, Timed], facts: dict[str, float]) -> str:
    threads = os.cpu_count()
    lines = [
        f"{cpu_name()}, {threads} cores, torch {torch.__version__}",
        "| | median | fastest | slowest | of the published time | CPU time | of the published "
        "CPU time | peak above its start |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, timed in found.items():
        ratio = of_cpu = ""
        if (key := RATIOS.get(name)) in facts:
            ratio = f"{facts[key]:.2f} ({facts[f'{key}_low']:.2f} to {facts[f'{key}_high']:.2f})"
            of_cpu = f"{facts[f'cpu_{key}']:.2f}"
        lines.append(
            f"| {name} | {median(timed.seconds):.3f} s | {min(timed.seconds):.3f} | "
            f"{max(timed.seconds):.3f} | {ratio} | {median(timed.cpu_seconds):.3f} s | {of_cpu} | "
            f"{timed.grown / 2**20:,.0f} MiB |"
        )
    return "\n".join(lines)


def errors(work: Work) -> dict[str, float]:
    """How far ours lies from the published code, from plain torch and from float64.

    Outputs: largest difference. Gradients: of all parameters as one vector, relative.
    """
    small = replace(work, size=CHECKED, batch=min(work.batch, 2), layer="")
    reference = Path(work.reference) if work.reference else None
    network = our_network(reference, tiny=work.tiny)
    choose_precision(network, work.dtype)  # type: ignore[arg-type]
    choose_recomputation(network, work.recompute)
    found = _results(network, small)
    choose_precision(network, "float32")
    choose_recomputation(network, False)
    others = {}
    if reference is not None:
        others["error_published"] = _results(published_network(reference, tiny=work.tiny), small)
    with torch.backends.mkldnn.flags(enabled=False):
        others["error_eager"] = _results(network, small)
        others["error_float64"] = _results(network.double(), small)
    facts = {}
    for name, (output, gradient) in others.items():
        facts[name] = float((found[0] - output).abs().max())
        if gradient is not None:
            assert found[1] is not None
            off = (found[1] - gradient).norm() / gradient.norm()
            facts[name.replace("error", "gradient_error")] = float(off)
    facts["max_error"] = max(v for k, v in facts.items() if k.startswith("error"))
    if work.kind == "step":
        facts["max_gradient_error"] = max(v for k, v in facts.items() if k.startswith("gradient"))
    return facts


def _results(network: nn.Module, work: Work) -> tuple[Tensor, Tensor | None]:
    """What the network answers, and for a step all of its gradients; in float64."""
    degraded = image(work)
    if next(network.parameters()).dtype == torch.float64:
        degraded = degraded.double()
    if work.kind == "inference":
        with torch.inference_mode():
            return network.eval()(degraded)[0].double().clone(), None
    network.train().zero_grad()
    target = degraded.flip(-1)
    torch.manual_seed(SEED)
    if isinstance(network, AMIR):
        sizes = [(work.batch * work.size[0] * work.size[1] // 4**n, 4) for n in range(3)]
        noise = [torch.randn(size).to(degraded.dtype) for size in sizes]
        restored = network(degraded, gate_noise=noise)
        loss = restoration_loss(restored, target, balance_weight=BALANCE_WEIGHT).total
    else:
        restored = network(degraded)
        loss = (restored[0] - target).abs().mean() + BALANCE_WEIGHT * restored[1].sum()
    loss.backward()
    gradients = _gradients(network)
    row = torch.cat([gradients[name].double().flatten() for name in sorted(gradients)])
    return restored[0].detach().double(), row


def _gradients(network: nn.Module) -> dict[str, Tensor]:
    named = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in network.named_parameters()
    }
    return named if isinstance(network, AMIR) else from_published("amir", named)


def has_bfloat16() -> bool:
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def options(description: str, *, size: tuple[int, int], batch: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--reference", type=Path, help="checkout of the published code")
    parser.add_argument("--size", default="x".join(map(str, size)), help="HEIGHTxWIDTH")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layer", default="", help="a block or the half of one")
    parser.add_argument("--layers", action="store_true", help="where our time is")
    parser.add_argument("--tiny", action="store_true", help="a small network, to try this out")
    parser.add_argument("--no-errors", action="store_true", help="time alone")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--apart", action="store_true", help="one process at a time, where memory is too small"
    )
    parser.add_argument(
        "--busy-machine",
        action="store_true",
        help="waiting threads sleep, so that CPU time, which then counts, is that of work alone",
    )
    return parser


def work_of(chosen: argparse.Namespace, kind: str) -> Work:
    height, _, width = chosen.size.partition("x")
    return Work(
        code="ours",
        kind=kind,
        reference=str(chosen.reference.resolve()) if chosen.reference else "",
        size=(int(height), int(width or height)),
        batch=chosen.batch,
        threads=chosen.threads,
        dtype=chosen.dtype,
        recompute=getattr(chosen, "recompute", False),
        layer=chosen.layer,
        tiny=chosen.tiny,
        busy_machine=chosen.busy_machine,
    )


def run(chosen: argparse.Namespace, kind: str, facts: dict[str, Any] | None = None) -> None:
    """Print errors, the table of times, and with --json all figures as one object."""
    work = work_of(chosen, kind)
    torch.set_num_threads(work.threads)
    told: dict[str, Any] = {"cpu": cpu_name(), **(facts or {})}
    if not (chosen.no_errors or work.layer):
        told |= errors(work)
        print("largest differences and relative gradient errors, at", "x".join(map(str, CHECKED)))
        for name in (name for name in told if "error" in name):
            print(f"  {name} {told[name]:.1e}")
    if work.dtype == "bfloat16" and not has_bfloat16():
        print("no bf16 hardware")
    else:
        found = (timed_apart if chosen.apart else timed_in_turn)(work, chosen.rounds)
        times = figures(found)
        print(table(found, times))
        told |= times
    if chosen.json:
        print(json.dumps(told))


def shares(rows: Sequence[tuple[str, float]]) -> str:
    """A table of parts and their share of all."""
    whole = sum(value for _, value in rows)
    head = "| part | seconds | share |\n|---|---:|---:|\n"
    return head + "\n".join(f"| {n} | {v:.4f} | {100 * v / whole:.1f} % |" for n, v in rows)
