"""A candidate and its rival on the same slices: scores, quantities, time, and the verdict on them.

What was scored once, by model and dataset, is read again: a second look costs no restoring.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amir import durable
from amir.checkpoint import Checkpoint
from amir.config import EvaluateSettings, PromoteSettings
from amir.dataset.manifest import Manifest, read_manifest
from amir.errors import InputError
from amir.evaluation.evaluate import Evaluation, evaluate
from amir.evaluation.methods import BASELINE
from amir.evaluation.quantities.measure import stored_quantities
from amir.evaluation.scores import Each, device_of
from amir.inference.restorer import Restorer
from amir.modality import Modality
from amir.promotion.card import model_card
from amir.promotion.gate import Evidence, Verdict, judge, not_finite

SLICE, WARM_UPS, TIMED = (256, 256), 1, 3


@dataclass(frozen=True)
class Examination:
    """table: Markdown of all scores, empty if they could not be made."""

    candidate: Checkpoint
    manifest: Manifest
    table: str
    verdict: Verdict

    def write(self, folder: Path) -> None:
        """card.md, table.md, verdict.md and verdict.json."""
        card = model_card(self.candidate, self.manifest, table=self.table, verdict=self.verdict)
        durable.write_text(folder / "card.md", card)
        durable.write_text(folder / "table.md", self.table)
        durable.write_text(folder / "verdict.md", self.verdict.as_markdown() + "\n")
        durable.write_text(folder / "verdict.json", self.verdict.as_json())


def examine(
    candidate: Checkpoint, rival: str | None, settings: PromoteSettings, *, each: Each
) -> Examination:
    """Score settings.model, the candidate, and its rival on settings.data, and judge.

    rival: a model reference; None for the degraded input.
    """
    assert settings.data is not None  # the settings saw to it
    manifest = read_manifest(settings.data)
    ours = _evaluation_settings(candidate, rival, settings)
    try:
        scored = evaluate(ours, each=each)
    except InputError as error:
        if error.code != "not_finite":
            raise
        return Examination(candidate, manifest, "", not_finite(str(error)))
    verdict = judge(_evidence(scored, candidate, rival, ours), settings.gate, seed=settings.seed)
    return Examination(candidate, manifest, scored.text, verdict)


def _evaluation_settings(
    candidate: Checkpoint, rival: str | None, settings: PromoteSettings
) -> EvaluateSettings:
    return EvaluateSettings(
        data=settings.data,
        models=tuple(filter(None, (settings.model, rival))),
        out=settings.storage / "promotions" / candidate.digest[:16],
        split=settings.split,
        storage=settings.storage,
        tracking=settings.tracking,
        gaussian_filter=False,
        keep_restored=True,
        picture=False,
        other_dataset=settings.other_dataset,
        training_data=settings.training_data,
        seed=settings.seed,
        cpus=settings.cpus,
        gpu=settings.gpu,
    )


def _evidence(
    scored: Evaluation, candidate: Checkpoint, rival: str | None, ours: EvaluateSettings
) -> Evidence:
    names = scored.table.methods  # the degraded input, the candidate, the rival
    restored = ours.out / "restored" / candidate.digest[:16]
    return Evidence(
        names[1],
        BASELINE if rival is None else names[2],
        rival is not None,
        scored.table.by_task,
        stored_quantities(ours.data, restored, ours.split),
        _milliseconds(Restorer.of(candidate, device=device_of(ours))),
    )


def _milliseconds(restorer: Restorer) -> float:
    """Median time for one slice of noise, the first ones left out."""
    slices = np.random.default_rng(0).uniform(0, 1000, SLICE).astype(np.float32)
    taken = []
    for _ in range(WARM_UPS + TIMED):
        start = time.perf_counter()
        restorer.restore_slice(slices, Modality.MRI)
        taken.append(1000 * (time.perf_counter() - start))
    return float(np.median(taken[WARM_UPS:]))
