"""Restored slices kept beside the dataset, read and scored from there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from amir.config import EvaluateSettings
from amir.dataset.manifest import ShardEntry, read_manifest
from amir.dataset.slices import read_shard
from amir.errors import InputError
from amir.evaluation.evaluate import evaluate
from amir.evaluation.results import read_record, read_scores
from amir.evaluation.scores import in_process
from amir.evaluation.stored import read_restored, restored_file, score_stored
from amir.modality import Modality


@pytest.fixture
def shard(tiny_dataset: Path) -> ShardEntry:
    [only] = read_manifest(tiny_dataset).of("test", Modality.CT)
    return only


def test_slices_come_back_as_they_were_kept(
    tiny_dataset: Path, shard: ShardEntry, tmp_path: Path
) -> None:
    pairs = list(read_shard(tiny_dataset, shard))
    with restored_file(tmp_path / shard.file) as keep:
        for pair in pairs:
            keep([pair], [pair.degraded + np.float32(0.1)])
    for pair, found in zip(pairs, read_restored(tmp_path, shard.file), strict=True):
        assert (found.scan_id, found.slice_index) == (pair.scan_id, pair.slice_index)
        np.testing.assert_array_equal(found.restored, pair.degraded + np.float32(0.1))


def test_scores_from_kept_slices_are_those_of_the_evaluation(
    tiny_dataset: Path, tmp_path: Path, save_checkpoint: object
) -> None:
    model = save_checkpoint(tmp_path / "model" / "3")  # type: ignore[operator]
    out = tmp_path / "out"
    evaluate(
        EvaluateSettings(
            data=tiny_dataset,
            models=(str(model.folder),),
            out=out,
            keep_restored=True,
            other_dataset=True,
        ),
        each=in_process,
    )
    record, scores = read_record(out), read_scores(out)
    ours = record.methods[-1]
    assert (ours.digest, ours.restored) == (model.digest, f"restored/{model.digest[:16]}")
    assert record.methods[0].restored is None
    order = [("scan_id", "ascending"), ("slice_index", "ascending")]
    expected = scores.filter(pc.equal(scores["method"], ours.name)).sort_by(order)
    found = score_stored(tiny_dataset, out / str(ours.restored)).sort_by(order)
    names = [name for name in found.column_names if name not in ("method", "model_digest")]
    assert found.select(names).equals(expected.select(names))


def test_missing_damaged_and_foreign_files_are_named(
    tiny_dataset: Path, shard: ShardEntry, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no restored slices .*--keep-restored"):
        list(read_restored(tmp_path, shard.file))
    pairs = list(read_shard(tiny_dataset, shard))
    for entry in read_manifest(tiny_dataset).of("test"):
        with restored_file(tmp_path / entry.file) as keep:
            keep(pairs[:1], [pairs[0].degraded])
    with pytest.raises(InputError, match="are not those of the dataset"):
        score_stored(tiny_dataset, tmp_path)
    path = tmp_path / shard.file
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=f"restored slices {shard.file}"):
        list(read_restored(tmp_path, shard.file))
