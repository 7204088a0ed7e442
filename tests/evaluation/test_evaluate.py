"""What an evaluation refuses before any work, and what its table says of the models' training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amir import checkpoint
from amir.config import EvaluateSettings
from amir.dataset.manifest import Manifest, make_manifest, read_manifest, write_manifest
from amir.errors import InputError
from amir.evaluation.evaluate import check
from amir.evaluation.results import read_record

Save = Callable[..., checkpoint.Checkpoint]


@pytest.fixture
def model(tmp_path: Path, save_checkpoint: Save) -> checkpoint.Checkpoint:
    """A model of some other dataset."""
    return save_checkpoint(tmp_path / "model" / "3")


def rewritten(model: checkpoint.Checkpoint, **changes: Any) -> str:
    """The same weights with other settings, as a reference."""
    folder = model.folder.with_name("4")
    checkpoint.save(folder, weights=model.weights(), settings=model.settings | changes, scores={})
    return str(folder)


def settings(data: Path, *models: str, **chosen: Any) -> EvaluateSettings:
    return EvaluateSettings(data=data, models=models, out=data / "no" / "where", **chosen)


def test_a_model_of_this_dataset_needs_no_remark(
    tiny_dataset: Path, model: checkpoint.Checkpoint
) -> None:
    ours = rewritten(model, dataset_digest=read_manifest(tiny_dataset).dataset_digest)
    subjects = check(settings(tiny_dataset, ours))
    assert subjects.notes == ()
    assert subjects.references == {"AMIR": ours}
    [note] = check(settings(tiny_dataset, ours, split="validation")).notes
    assert "chosen on this validation split" in note


def test_a_model_of_another_dataset_is_refused_unless_allowed(
    tiny_dataset: Path, model: checkpoint.Checkpoint
) -> None:
    with pytest.raises(InputError, match=r"trained on dataset abababababab.*not known.*--other"):
        check(settings(tiny_dataset, str(model.folder)))
    [note] = check(settings(tiny_dataset, str(model.folder), other_dataset=True)).notes
    assert "trained on another dataset (abababababab): whether" in note


def other_dataset(folder: Path, manifest: Manifest, train: str) -> str:
    """A dataset whose training split is a split of this one; its digest."""
    folder.mkdir()
    shards = {"train": manifest.of(train), "validation": [], "test": []}  # type: ignore[arg-type]
    other = make_manifest(
        settings={"other": True},
        intensity=manifest.intensity,
        shards=shards,  # type: ignore[arg-type]
        refused=[],
        ranges=manifest.ranges,
        versions=manifest.versions,
    )
    write_manifest(folder, other)
    return other.dataset_digest


def test_a_model_that_has_seen_the_patients_is_always_refused(
    tiny_dataset: Path, model: checkpoint.Checkpoint, tmp_path: Path
) -> None:
    manifest = read_manifest(tiny_dataset)
    digest = other_dataset(tmp_path / "seen", manifest, "test")
    chosen = {"other_dataset": True, "training_data": (str(tmp_path / "seen"),)}
    with pytest.raises(InputError, match="was trained on patients of this test split: phantom-"):
        check(settings(tiny_dataset, rewritten(model, dataset_digest=digest), **chosen))

    digest = other_dataset(tmp_path / "apart", manifest, "train")
    chosen["training_data"] = (str(tmp_path / "seen"), str(tmp_path / "apart"))
    [note] = check(settings(tiny_dataset, rewritten(model, dataset_digest=digest), **chosen)).notes
    assert "none of its training patients are in this split" in note


def test_a_model_of_other_ranges_is_refused(
    tiny_dataset: Path, model: checkpoint.Checkpoint
) -> None:
    ranges = model.settings["ranges"] | {"CT": [-1024.0, 3072.0, "HU"]}
    with pytest.raises(InputError, match=r"3072.*3071.*do not transfer") as caught:
        check(settings(tiny_dataset, rewritten(model, ranges=ranges), other_dataset=True))
    assert caught.value.code == "invalid_checkpoint"


def test_an_empty_split_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    other_dataset(tmp_path / "empty", read_manifest(tiny_dataset), "train")
    with pytest.raises(InputError, match=r"the test split of .* is empty"):
        check(settings(tmp_path / "empty", "any"))


def test_a_missing_model_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run 'nobody'"):
        check(settings(tiny_dataset, "nobody", storage=tmp_path))


def test_an_unfinished_evaluation_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no finished evaluation; run jobs/evaluate\.py"):
        read_record(tmp_path)
