"""How many trials share a GPU, or take several, by the check before the start and as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from measures import Line
from sweep_controller import reporting_stub, run_stubs, start_ray, sweep_of

from amir.command_line import set_dotted, validate
from amir.config import SweepSettings
from amir.errors import InputError
from amir.sweeping.search import budget_of
from amir.sweeping.trial import TrialTask

GPUS, CPUS = 2, 8
SECONDS_HELD = 10.0
ASKED: dict[str, dict[str, Any]] = {
    "a quarter of a GPU each": {"gpus": 0.25},
    "a GPU each": {},
    "two GPUs each": {"train.workers.count": 2, "train.workers.cpus": 0.5},
}
TOO_MUCH: dict[str, dict[str, Any]] = {
    "nine at a time with a quarter each": {"gpus": 0.25, "concurrency": 9},
    "three at a time with a GPU each": {"concurrency": 3},
    "one with three GPUs": {"train.workers.count": 3, "concurrency": 1},
}


def sharing(folder: Path, quick: bool) -> Iterator[Line]:
    """On a cluster that believes in two GPUs."""
    trials = 8 if quick else 24
    start_ray(CPUS, gpus=GPUS)
    for what, chosen in ASKED.items():
        place = folder / what.replace(" ", "-")
        place.mkdir()
        settings = asked(trials, place, chosen)
        budget = budget_of(settings)
        yield Line(f"{what}/allowed", f"{what}, {GPUS} GPUs: at a time", budget.concurrency, "")
        if settings.train.workers.count == 1:
            run_stubs(settings, place, budget, stub=noting_stub)
            seen = most_at_once(place)
            yield Line(f"{what}/seen", f"{what}: seen at once on one GPU", seen, "")
    refused = 0
    for chosen in TOO_MUCH.values():
        with suppress(InputError):
            budget_of(asked(trials, folder, chosen))
            continue
        refused += 1
    yield Line(
        "refused", f"refused before the start, of {len(TOO_MUCH)} that do not fit", refused, ""
    )
    ray.shutdown()


def asked(trials: int, folder: Path, chosen: dict[str, Any]) -> SweepSettings:
    tree = sweep_of(trials, folder).model_dump(mode="json")
    for name, value in {"train.workers.gpu": True, **chosen}.items():
        set_dotted(tree, name, value)
    return validate(SweepSettings, tree)


def noting_stub(config: dict[str, Any], *, task: TrialTask) -> None:
    """Writes down which GPU it had, and from when to when."""
    begin = time.time()
    time.sleep(SECONDS_HELD)  # a process starts in about one, and all that fit are to be there
    try:
        reporting_stub(config, task=task)
    finally:
        noted = {"gpus": ray.get_gpu_ids(), "begin": begin, "end": time.time()}
        file = task.train.storage / f"{config['number']:03d}.json"
        file.write_text(json.dumps(noted))


def most_at_once(folder: Path) -> int:
    """Trials on one GPU at the same moment."""
    spans = [json.loads(file.read_text()) for file in folder.glob("[0-9]*.json")]
    return max(
        sum(
            other["begin"] <= span["begin"] < other["end"] and other["gpus"] == span["gpus"]
            for other in spans
        )
        for span in spans
    )
