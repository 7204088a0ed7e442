"""Shards to rows of scores, by whoever does the work, again and again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from amir.config import EvaluateSettings
from amir.dataset.manifest import Manifest, read_manifest
from amir.dataset.slices import SlicePair, read_shard
from amir.errors import InputError
from amir.evaluation.evaluate import evaluate
from amir.evaluation.methods import BASELINE, GAUSSIAN, DegradedInput, GaussianFilter, Model
from amir.evaluation.scan_scores import SCHEMA
from amir.evaluation.scores import Comparison, in_process, on_ray, score_split, tasks_of
from amir.inference.restorer import Restorer
from amir.modality import Modality

Score = Callable[..., pa.Table]


@pytest.fixture
def manifest(tiny_dataset: Path) -> Manifest:
    return read_manifest(tiny_dataset)


@pytest.fixture
def model(tmp_path: Path, save_checkpoint: Callable[..., Any]) -> Any:
    return save_checkpoint(tmp_path / "model" / "3")


@pytest.fixture
def comparison(tiny_dataset: Path, tmp_path: Path, model: Any) -> Comparison:
    widths = GaussianFilter(dict.fromkeys(Modality, 0.5))
    ours = Model("AMIR", model.folder, model.digest)
    return Comparison(tiny_dataset, tmp_path / "out", (DegradedInput(), widths, ours))


@pytest.fixture
def score(tiny_dataset: Path, manifest: Manifest) -> Score:
    def scored(comparison: Comparison, each: Any = in_process, **options: Any) -> pa.Table:
        settings = EvaluateSettings(data=tiny_dataset, models=("any",), out=comparison.out)
        return score_split(comparison, manifest, settings, each=each, **options)

    return scored


def test_every_slice_is_scored_with_every_method(
    comparison: Comparison, manifest: Manifest, model: Any, score: Score
) -> None:
    table = score(comparison)
    assert table.schema == SCHEMA
    assert table.num_rows == 3 * manifest.slices("test")

    [shard] = manifest.of("test", Modality.CT)
    rows = table.filter(pc.equal(table["modality"], "CT")).to_pylist()
    pairs = list(read_shard(comparison.data, shard))
    assert [(row["row"], row["slice_index"], row["method"]) for row in rows] == [
        (k, pair.slice_index, method)
        for k, pair in enumerate(pairs)
        for method in ("AMIR", BASELINE, GAUSSIAN)
    ]
    assert {(row["patient_id"], row["shard"]) for row in rows} == {(shard.patient_id, shard.file)}
    ours, degraded = rows[3], rows[4]
    pair = pairs[1]
    restored = Restorer.of(model).restore_slice(pair.degraded, pair.modality, scale=pair.scale)
    for row, image in ((ours, restored), (degraded, pair.degraded)):
        assert (row["psnr"], row["ssim"], row["rmse"]) == pytest.approx(pair.score(image), rel=1e-5)
    assert (ours["model_digest"], degraded["model_digest"]) == (model.digest, "")


def test_what_is_finished_is_not_scored_again(comparison: Comparison, score: Score) -> None:
    first = score(comparison)
    reports: list[tuple[int, int]] = []
    again = score(comparison, refuse, report=lambda *done: reports.append(done))
    assert again.equals(first)
    assert reports == [(3, 3)]


def refuse(make: Any, items: Any, settings: Any) -> Iterator[pa.Table]:
    raise AssertionError(f"asked to score {items}")


def test_only_what_is_new_is_scored(comparison: Comparison, score: Score) -> None:
    asked: list[str] = []

    def listen(make: Any, items: Any, settings: Any) -> Any:
        asked.extend(items)
        return in_process(make, items, settings)

    score(replace(comparison, contenders=comparison.contenders[:2]))
    assert score(comparison, listen).num_rows
    assert ['"places": [2]' in item for item in asked] == [True] * 3
    parts = list(comparison.out.rglob("parts/*/test-*.parquet"))
    assert len(parts) == 9
    parts[0].write_bytes(parts[0].read_bytes()[:-9])
    asked.clear()
    score(comparison, listen)
    assert len(asked) == 1


def test_models_and_datasets_do_not_share_finished_shards(
    comparison: Comparison, manifest: Manifest, score: Score, save_checkpoint: Any, tmp_path: Path
) -> None:
    other = save_checkpoint(tmp_path / "other" / "3", seed=1)
    score(comparison)
    both = (*comparison.contenders, Model("other", other.folder, other.digest))
    table = score(replace(comparison, contenders=both))
    ours, theirs = (table.filter(pc.equal(table["method"], m))["psnr"] for m in ("AMIR", "other"))
    assert not ours.equals(theirs)


def test_ray_gives_the_same_scores(
    ray_cluster: None, comparison: Comparison, score: Score, tmp_path: Path
) -> None:
    here = score(comparison)
    elsewhere = replace(comparison, out=tmp_path / "elsewhere")
    assert score(elsewhere, on_ray).equals(here)


def test_a_restored_pixel_that_is_not_finite_is_named(
    comparison: Comparison, manifest: Manifest, score: Score
) -> None:
    broken = replace(comparison, contenders=(DegradedInput(), Broken()))
    with pytest.raises(InputError, match="sham has 1 pixels that are not finite") as caught:
        score(broken)
    [shard] = manifest.of("test", Modality.MRI)
    assert caught.value.code == "not_finite"
    for named in (shard.patient_id, shard.scan_id, "slice 3 (MRI)"):
        assert named in str(caught.value)


class Broken(DegradedInput):
    """A method that fails on one slice."""

    def __init__(self) -> None:
        super().__init__(name="sham", identity="sham")

    def restore(self, pairs: Any) -> list[Any]:
        images = [pair.degraded.copy() for pair in pairs]
        for pair, image in zip(pairs, images, strict=True):
            image[5, 6] = np.nan if is_the_one(pair) else image[5, 6]
        return images


def is_the_one(pair: SlicePair) -> bool:
    return pair.modality is Modality.MRI and pair.slice_index == 3


def test_tasks_come_in_the_papers_order(manifest: Manifest) -> None:
    assert tasks_of(manifest, "test") == [Modality.MRI, Modality.CT, Modality.PET]


KILLED = """
import sys, time
from amir.config import EvaluateSettings
from amir.evaluation.evaluate import evaluate
from amir.evaluation.scores import in_process

def one_then_wait(make, items, settings):
    for table in in_process(make, items, settings):
        yield table
        time.sleep(100)

settings = EvaluateSettings.model_validate_json(sys.argv[1])
evaluate(settings, each=one_then_wait, report=lambda done, all: print(done, flush=True))
"""


def test_a_killed_evaluation_goes_on_and_ends_with_the_same_bytes(
    tiny_dataset: Path, model: Any, tmp_path: Path
) -> None:
    settings = EvaluateSettings(
        data=tiny_dataset,
        models=(str(model.folder),),
        out=tmp_path / "killed",
        keep_restored=True,
        other_dataset=True,
    )
    command = [sys.executable, "-c", KILLED, settings.model_dump_json()]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    assert job.stdout.readline() == "1\n"
    time.sleep(0.1)  # into the wait, after the first shard
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    assert not (settings.out / "scores.parquet").exists()

    done: list[int] = []
    evaluate(settings, each=in_process, report=lambda ready, every: done.append(ready))
    assert done == [1, 2, 3]
    undisturbed = settings.model_copy(update={"out": tmp_path / "whole"})
    evaluate(undisturbed, each=in_process)
    assert files(settings.out) == files(undisturbed.out)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
