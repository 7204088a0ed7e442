"""A shard to rows of scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amir.dataset.manifest import read_manifest
from amir.dataset.slices import read_shard
from amir.evaluation.methods import BASELINE, GAUSSIAN, GaussianFilter
from amir.evaluation.scores import SCHEMA, Comparison, ShardScorer, tasks_of
from amir.inference.restorer import Restorer
from amir.modality import Modality


@pytest.fixture
def model(tmp_path: Path, save_checkpoint: Callable[..., Any]) -> Any:
    return save_checkpoint(tmp_path / "model" / "3")


def test_every_slice_is_scored_with_every_method(tiny_dataset: Path, model: Any) -> None:
    shard = read_manifest(tiny_dataset).of("test", Modality.CT)[0]
    widths = GaussianFilter(dict.fromkeys(Modality, 0.5))
    comparison = Comparison(tiny_dataset, (("AMIR", model.folder),), widths)

    table = ShardScorer(comparison, device="cpu", threads=1)(shard.model_dump_json())

    assert table.schema == SCHEMA
    rows = table.to_pylist()
    pairs = list(read_shard(tiny_dataset, shard))
    assert [(row["slice_index"], row["method"]) for row in rows] == [
        (pair.slice_index, method) for pair in pairs for method in (BASELINE, GAUSSIAN, "AMIR")
    ]
    assert {row["patient_id"] for row in rows} == {shard.patient_id}
    pair, row = pairs[1], rows[5]
    restored = Restorer.of(model).restore_slice(pair.degraded, pair.modality, scale=pair.scale)
    assert (row["psnr"], row["ssim"], row["rmse"]) == pytest.approx(pair.score(restored))
    assert row["model_digest"] == model.digest
    assert (rows[0]["psnr"], rows[0]["model_digest"]) == (pair_psnr(pairs[0]), "")


def pair_psnr(pair: Any) -> float:
    return float(pair.score(pair.degraded).psnr)


def test_without_a_filter_there_is_no_row_for_it(tiny_dataset: Path, model: Any) -> None:
    comparison = Comparison(tiny_dataset, (("one", model.folder), ("two", model.folder)), None)
    assert [method.name for method in comparison.methods("cpu")] == [BASELINE, "one", "two"]


def test_tasks_come_in_the_papers_order(tiny_dataset: Path) -> None:
    manifest = read_manifest(tiny_dataset)
    assert tasks_of(manifest, "test") == [Modality.MRI, Modality.CT, Modality.PET]
