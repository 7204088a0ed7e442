"""A pass or a training step, of the published code or of ours, as a process that does it on demand.

    python benchmarks/network_work.py WORK_AS_JSON

Says how many bytes it holds, then does one piece of work for each line that it reads and prints
the seconds that took, on the clock and of CPUs; at the end of the lines it prints the most bytes
that it ever held. A process of its own, because how memory is kept is decided for a whole process
(`amir.allocator`).
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amir.config import OptimizerSettings
from amir.models.amir import AMIR
from amir.models.economy import choose_precision, choose_recomputation
from amir.models.published import from_published
from amir.training.optimizer import build_optimizers
from amir.training.step import Crops, Objective, train_step

BALANCE_WEIGHT, LEARNING_RATE, SEED = 0.001, 2e-4, 0
TINY = {"dim": 8, "blocks": [1, 1, 1, 1], "refinement_blocks": 1}


@dataclass(frozen=True)
class Work:
    """code: published or ours. kind: inference or step. size: height and width. layer: a part of
    the network by our name, such as encoder.0.0.attention; the whole if empty. tiny: a small
    network, to try the benchmark itself. busy_machine: threads that wait sleep.
    """

    code: str
    kind: str
    reference: str
    size: tuple[int, int]
    batch: int
    threads: int = 2
    dtype: str = "float32"
    recompute: bool = False
    layer: str = ""
    tiny: bool = False
    busy_machine: bool = False

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def published_network(reference: Path, *, tiny: bool = False) -> nn.Module:
    """The published code's network with weights drawn from the seed."""
    file = reference / "model" / "Model_AMIR.py"
    if not file.is_file():
        sys.exit(f"{reference} is no checkout of the published code: {file.name} is missing")
    place = importlib.util.spec_from_file_location("published_amir", file)
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    torch.manual_seed(SEED)
    settings = {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1} if tiny else {}
    network: nn.Module = module.AMIR(**settings)
    return network


def our_network(reference: Path | None, *, tiny: bool = False) -> AMIR:
    """Ours, with the published network's weights where there is a reference."""
    torch.manual_seed(SEED)
    network = AMIR(**TINY) if tiny else AMIR()  # type: ignore[arg-type]
    if reference is not None:
        state = published_network(reference, tiny=tiny).state_dict()
        network.load_state_dict(from_published("amir", state))
    return network


def image(work: Work) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return torch.rand(work.batch, 1, *work.size, generator=generator)


def prepared(work: Work) -> Callable[[], object]:
    """The piece of work, ready to be done."""
    reference = Path(work.reference) if work.reference else None
    if work.code == "published":
        assert reference is not None
        network = published_network(reference, tiny=work.tiny)
    else:
        network = our_network(reference, tiny=work.tiny)
        choose_precision(network, work.dtype)  # type: ignore[arg-type]
        choose_recomputation(network, work.recompute)
    network.train(work.kind == "step")
    if work.layer:
        return _layer(work, network)
    return _step(work, network) if work.kind == "step" else _inference(work, network)


def _inference(work: Work, network: nn.Module) -> Callable[[], object]:
    degraded = image(work)

    @torch.inference_mode()
    def run() -> object:
        return network(degraded)

    return run


def _step(work: Work, network: nn.Module) -> Callable[[], object]:
    degraded = image(work)
    target = degraded.flip(-1)
    if work.code == "ours":
        crops = Crops(degraded, target, degraded >= 0, torch.zeros(work.batch, dtype=torch.long))
        optimizers = build_optimizers(network, OptimizerSettings())
        return lambda: train_step(network, crops, optimizers, Objective(BALANCE_WEIGHT))
    adam = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        restored, balance = network(degraded)
        loss = (restored - target).abs().mean() + BALANCE_WEIGHT * balance.sum()
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def _layer(work: Work, network: nn.Module) -> Callable[[], object]:
    """A transformer block, or the half of one, forward and for a step backward too."""
    path = work.layer.split(".")
    level = {"latent": 3, "refinement": 0}.get(path[0])
    level = int(path[1]) if level is None else level
    ours = our_network(None, tiny=work.tiny).get_submodule(work.layer)
    norm = ours.norm if hasattr(ours, "norm") else ours.get_submodule("attention.norm")
    channels = norm.normalized_shape[0]  # type: ignore[union-attr,index]
    height, width = (side // 2**level for side in work.size)
    x = torch.rand(work.batch, height, width, channels) - 0.5
    if work.code == "published":
        x = x.permute(0, 3, 1, 2).contiguous()
        part = _published_part(network, path)
    else:
        part = network.get_submodule(work.layer)
    if work.kind == "inference":

        @torch.inference_mode()
        def run() -> object:
            return part(x)

        return run
    x.requires_grad_()
    gradient = torch.rand_like(x)
    return lambda: part(x).backward(gradient)


def _published_part(network: nn.Module, path: list[str]) -> Callable[[Tensor], Tensor]:
    stage, *rest = path
    name = f"{stage}_level{int(rest.pop(0)) + 1}" if stage in ("encoder", "decoder") else stage
    block: Any = network.get_submodule(f"{name}.{rest.pop(0)}")
    if not rest:
        found: Callable[[Tensor], Tensor] = block
        return found
    if rest[0] == "attention":
        return lambda x: block.attn(block.norm1(x))
    return lambda x: block.ffn(block.norm2(x))


def resident_bytes(field: str) -> int:
    """VmRSS, what this process holds, or VmHWM, the most it ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    work = Work(**json.loads(sys.argv[1]))
    torch.set_num_threads(work.threads)
    run = prepared(work)
    print(resident_bytes("VmRSS"), flush=True)
    for _ in sys.stdin:
        start, cpu_start = time.perf_counter(), time.process_time()
        run()
        print(time.perf_counter() - start, time.process_time() - cpu_start, flush=True)
    print(resident_bytes("VmHWM"), flush=True)


if __name__ == "__main__":
    main()
