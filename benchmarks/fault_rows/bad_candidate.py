"""F10: candidates that must not become champion, handed to jobs/promote.py one after the other."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from amir.checkpoint import Checkpoint
from amir.config import TrackingSettings
from amir.job import exit_code
from amir.model_registry.versions import CHAMPION, ModelRegistry
from amir.tracking import open_run
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.known_models import LENIENT, enthrone, phantom_dataset, save, save_off_by
from jobs.promote import main as promote

TARGET = "every bad candidate refused with exit code 3 and its reason, the alias where it was"
CHAMPIONS_ERROR = 0.2
REFUSED = 3


def run(*, quick: bool) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="amir-faults-") as name:
        folder = Path(name)
        dataset = phantom_dataset(folder)
        made_by = open_run(TrackingSettings(), folder / "storage", name="benchmark")
        registry = ModelRegistry.of(TrackingSettings(), folder / "storage")
        champion = save_off_by(CHAMPIONS_ERROR, folder / "champion", dataset)
        first = enthrone(registry, champion, made_by.id)
        wrong, refused = [], 0
        for what, reason, candidate in bad_candidates(folder, champion, dataset, quick=quick):
            code, said = promoted(candidate, dataset, folder)
            now = registry.at(CHAMPION)
            if code == REFUSED and reason in said and now and now.number == first:
                refused += 1
            else:
                wrong.append(f"{what}: exit code {code}, champion {now and now.number}")
        better = save_off_by(CHAMPIONS_ERROR / 4, folder / "better", dataset)
        code, _ = promoted(better, dataset, folder)  # the gate does not refuse whatever comes
        now = registry.at(CHAMPION)
        if code or now is None or now.digest != better.digest:
            wrong.append(f"a better one was refused: exit code {code}")
    figure = f"{refused} bad candidates refused, 1 better one promoted; wrong: "
    return Outcome(not wrong, figure + ("; ".join(wrong) or "none"))


def bad_candidates(
    folder: Path, champion: Checkpoint, dataset: Path, *, quick: bool
) -> Iterator[tuple[str, str, Checkpoint]]:
    """What is wrong with it, what the refusal must say, and the candidate."""
    weights = champion.weights()
    broken = [("output.weight", torch.nan)] if quick else _broken(weights)
    for number, (name, value) in enumerate(broken):
        spoilt = {key: tensor.clone() for key, tensor in weights.items()}
        spoilt[name].view(-1)[0] = value
        saved = save(spoilt, folder / f"broken-{number}", dataset)
        yield f"{value} in {name}", "finite images", saved
    for times in (2,) if quick else (1.2, 1.5, 2, 4, 8):
        saved = save_off_by(times * CHAMPIONS_ERROR, folder / f"worse-{times}", dataset)
        yield f"{times} times the error", "PSNR gain", saved


def _broken(weights: dict[str, torch.Tensor]) -> list[tuple[str, float]]:
    """One weight of four layers, from the first to the last, that is no number."""
    names = [name for name in weights if name.endswith("weight")]
    spread = [names[k * (len(names) - 1) // 3] for k in range(4)]
    return [(name, value) for name in spread for value in (torch.nan, torch.inf)]


def promoted(candidate: Checkpoint, dataset: Path, folder: Path) -> tuple[int, str]:
    """Exit code of jobs/promote.py, and what it said."""
    gate = [f"--gate.{name}={value}" for name, value in LENIENT.items()]
    paths = {"model": candidate.folder, "data": dataset, "storage": folder / "storage"}
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        code = exit_code(promote, [*gate, *(f"--{name}={path}" for name, path in paths.items())])
    return code, told.getvalue()
