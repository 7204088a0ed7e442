"""Training recipes at equal compute: the published one, and one change of it at a time.

    PYTHONPATH=platform python -m benchmarks.recipes --data DATASET [--only published muon]

Trains jobs/configs/recipes.yaml once for each recipe and seed, in this process and on one thread,
and scores the test split: PSNR above the degraded input, each patient's mean over slices that are
evenly spread over its scans. Prints a table in Markdown. What is trained or scored is kept below
--storage: a run that was killed goes on where it was, and asked again nothing is done twice.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from amir import durable
from amir.command_line import settings_from
from amir.config import TrainSettings
from amir.dataset.manifest import check_shards, read_manifest
from amir.dataset.slices import SlicePair, read_shard
from amir.errors import InputError
from amir.evaluation.tables.statistics import paired_p
from amir.inference.restorer import Restorer
from amir.modality import Modality
from amir.references import find_model
from amir.training.alone import train_alone

CONFIG = Path(__file__).parent.parent / "jobs" / "configs" / "recipes.yaml"
PUBLISHED = "published"
RECIPES: dict[str, tuple[str, ...]] = {
    PUBLISHED: (),
    "uniform": ("--data.sampling=uniform",),
    "uncertainty": ("--loss.balancing=uncertainty",),
    "ema": ("--optimizer.average_decay=0.99",),
    "muon": ("--optimizer.name=muon",),
    "gate-noise": ("--model.gate_noise=true",),
    "adam-1e-3": ("--optimizer.learning_rate=1e-3",),
    "muon-1e-3": ("--optimizer.name=muon", "--optimizer.learning_rate=1e-3"),
}
Gains = dict[str, dict[str, float]]  # task -> patient -> dB, mean over the patient's slices


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    gains: dict[str, list[Gains]] = defaultdict(list)
    for seed in options.seeds:
        for recipe in options.only:
            gains[recipe].append(gains_of(recipe, seed, options))
            progress(f"seed {seed}, {recipe}: {mean(gains[recipe][-1]):.2f} dB")
    sys.stdout.write("\n".join(table(gains)) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--storage", type=Path, default=Path("storage/recipes"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--slices", type=int, default=6, help="of each test scan")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    return parser.parse_args()


def gains_of(recipe: str, seed: int, options: argparse.Namespace) -> Gains:
    """Of the test patients; trained and scored unless that was done before."""
    settings = settings_from(
        [
            f"--config={CONFIG}",
            f"--data.path={options.data}",
            f"--storage={options.storage}",
            f"--run={recipe}-{seed}",
            f"--seed={seed}",
            f"--steps={options.steps}",
            f"--validation.every={options.steps}",
            "--tracking.uri=none",
            *RECIPES[recipe],
        ],
        TrainSettings,
    )
    scored = options.storage / str(settings.run) / f"test_gains_{options.slices}.json"
    if not scored.is_file():
        trained(settings)
        durable.write_text(scored, json.dumps(test_gains(settings, options.slices)))
    found: Gains = json.loads(scored.read_text())
    return found


def trained(settings: TrainSettings) -> None:
    check_shards(settings.data.path, read_manifest(settings.data.path))
    try:
        train_alone(settings)
    except InputError as error:
        if "is finished after" not in str(error):
            raise


def test_gains(settings: TrainSettings, slices: int) -> Gains:
    model = find_model(str(settings.run), storage=settings.storage)
    restorer = Restorer.of(model)
    each: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for pair in test_slices(settings.data.path, slices):
        restored = restorer.restore_slice(pair.degraded, pair.modality, scale=pair.scale)
        gain = pair.score(restored).psnr - pair.score(pair.degraded).psnr
        if np.isfinite(gain):  # the target is not constant
            each[str(pair.modality)][pair.patient_id].append(gain)
    return {
        task: {person: float(np.mean(own)) for person, own in people.items()}
        for task, people in each.items()
    }


def test_slices(data: Path, slices: int) -> Iterator[SlicePair]:
    """At most so many of each scan, evenly spread."""
    for shard in read_manifest(data).of("test"):
        rows = np.linspace(0, shard.rows - 1, min(slices, shard.rows)).round().astype(int)
        yield from read_shard(data, shard, sorted(set(rows.tolist())))


def by_task(gains: Gains) -> dict[str, float]:
    return {task: float(np.mean(list(people.values()))) for task, people in gains.items()}


def mean(gains: Gains) -> float:
    """Over tasks, each the mean over its patients."""
    return float(np.mean(list(by_task(gains).values())))


def table(gains: Mapping[str, Sequence[Gains]]) -> Iterator[str]:
    """A row for each recipe, means over seeds; the published one first, the others against it."""
    first = next(iter(gains.values()))
    tasks = [str(task) for task in Modality if str(task) in first[0]]
    told = ", ".join(f"{task} {len(first[0][task])}" for task in tasks)
    yield f"{len(first)} seeds; test patients: {told}. Gains in dB, +- deviation over the seeds."
    yield ""
    columns = [
        "recipe",
        *tasks,
        "mean over tasks",
        "worst task",
        "against published",
        "patients, p",
    ]
    yield f"| {' | '.join(columns)} |"
    yield f"|---|{'---:|' * (len(columns) - 1)}"
    for recipe, seeds in gains.items():
        tasked = [by_task(one) for one in seeds]
        cells = [spread([one[task] for one in tasked]) for task in tasks]
        cells += [spread([mean(one) for one in seeds]), spread([min(o.values()) for o in tasked])]
        cells += against(seeds, gains[PUBLISHED]) if PUBLISHED in gains else ["", ""]
        yield f"| {recipe} | {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{np.mean(values):.2f} +- {np.std(values, ddof=1):.2f}"


def against(seeds: Sequence[Gains], others: Sequence[Gains]) -> list[str]:
    """The difference of the means over tasks, seed by seed; and patient by patient over all tasks,
    each a mean over the seeds: its mean, its standard deviation over patients, p of no difference.
    """
    if seeds is others:
        return ["", ""]
    off = [mean(one) - mean(other) for one, other in zip(seeds, others, strict=True)]
    own, theirs = people(seeds), people(others)
    apart = [own[person] - theirs[person] for person in own]
    told = f"{np.mean(apart):+.2f} +- {np.std(apart, ddof=1):.2f}, p {paired_p(apart, seed=0):.2g}"
    return [f"{np.mean(off):+.2f} +- {np.std(off, ddof=1):.2f}" if len(off) > 1 else "", told]


def people(seeds: Sequence[Gains]) -> dict[tuple[str, str], float]:
    """(task, patient) -> dB, mean over the seeds."""
    return {
        (task, person): float(np.mean([one[task][person] for one in seeds]))
        for task, own in seeds[0].items()
        for person in own
    }


def progress(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
