"""The interpretation job, on a tiny network and phantoms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from amir.config import InterpretSettings
from amir.dataset.manifest import read_manifest
from amir.dataset.slices import spread_slices
from amir.evaluation.routing.interpret import Interpretation, crop_batches, interpret
from amir.modality import Modality

CHARTS = [
    "expert-maps-MRI",
    "expert-maps-CT",
    "expert-maps-PET",
    "expert-use",
    "instructions-tsne",
    "instructions-pca",
    "interference",
    "channel-masks",
]


FEW = {"batches": 2, "batch": 1, "crop": 16}


def look(model: Path, data: Path, out: Path, **chosen: Any) -> Interpretation:
    given = {"slices": 3, "interference": FEW, "tracking": {"uri": "none"}, **chosen}
    return interpret(InterpretSettings(model=str(model), data=data, out=out, **given))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("interpretation")


@pytest.fixture(scope="module")
def seen(run_checkpoint: Path, tiny_dataset: Path, out: Path) -> Interpretation:
    return look(run_checkpoint, tiny_dataset, out)


def test_one_command_writes_every_figure_and_table(seen: Interpretation, out: Path) -> None:
    assert [chart.name for chart in seen.charts] == CHARTS
    written = {path.name for path in out.iterdir()}
    tables = {"expert_use.parquet", "instructions.parquet", "interference.parquet"}
    assert written == {f"{name}.svg" for name in CHARTS} | tables | {"interpretation.json"}
    facts = json.loads((out / "interpretation.json").read_text())
    assert facts["settings"]["slices"] == 3
    assert len(facts["model_digest"]) == len(facts["dataset_digest"]) == 64


def test_tables_hold_what_the_figures_show(seen: Interpretation, out: Path) -> None:
    use = pq.read_table(out / "expert_use.parquet").to_pylist()
    assert use == list(seen.use)
    assert len(use) == len(seen.routings) * 3 * 4
    vectors = pq.read_table(out / "instructions.parquet").to_pylist()
    np.testing.assert_allclose(vectors[0]["instruction"], seen.routings[0].instruction)
    rows = pq.read_table(out / "interference.parquet").to_pylist()
    assert seen.interference is not None
    assert len(rows) == len(seen.interference.layers) * 9


def test_slices_are_spread_over_the_split_and_always_the_same(
    seen: Interpretation, run_checkpoint: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    def places(found: Interpretation) -> list[tuple[str, int]]:
        return [(r.pair.scan_id, r.pair.slice_index) for r in found.routings]

    again = look(run_checkpoint, tiny_dataset, tmp_path, interference={"batches": 0})
    assert places(again) == places(seen)
    indices = [r.pair.slice_index for r in seen.routings if r.pair.modality is Modality.PET]
    assert indices == sorted(indices)
    assert indices[-1] - indices[0] > 10


def test_an_inline_figure_asks_for_nothing_outside_and_takes_the_pages_colours(
    seen: Interpretation,
) -> None:
    for chart in seen.charts:
        assert "http" not in chart.inline()
        assert "var(--ink)" in chart.inline()
        assert f'aria-labelledby="{chart.name}-text"' in chart.inline()


def test_batches_are_crops_in_the_networks_range_and_repeatable(tiny_dataset: Path) -> None:
    pairs = spread_slices(tiny_dataset, read_manifest(tiny_dataset), "train", Modality.CT, 5)
    batches = crop_batches(pairs, count=2, crop=64, seed=1)
    assert [tuple(batch[0].shape) for batch in batches] == [(3, 1, 64, 64), (2, 1, 64, 64)]
    assert all(0 <= float(t.min()) <= float(t.max()) <= 1 for batch in batches for t in batch)
    again = crop_batches(pairs, count=2, crop=64, seed=1)
    assert torch.equal(batches[1][0], again[1][0])
