"""What is measured of the training data is stored with the model, and goes where the model goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from amir import checkpoint
from amir.checkpoint import Checkpoint
from amir.config import MeasureSettings, OutlierSettings
from amir.dataset.manifest import Manifest, read_manifest
from amir.errors import InputError
from amir.inference.trust.outliers import stored_statistics
from amir.modality import Modality
from amir.training.outliers import add_statistics, kspace_factor, measure_model


@pytest.fixture(scope="module")
def manifest(tiny_dataset: Path) -> Manifest:
    return read_manifest(tiny_dataset)


@pytest.fixture
def model(save_checkpoint: Callable[..., Checkpoint], tmp_path: Path) -> Checkpoint:
    return save_checkpoint(tmp_path / "model")


def measure(model: Checkpoint, data: Path, manifest: Manifest, **chosen: float) -> None:
    tasks = (Modality.MRI, Modality.PET)
    add_statistics(model, data, manifest, OutlierSettings(**chosen), tasks)


def test_the_model_stays_what_it_is_and_the_statistics_go_with_it(
    model: Checkpoint, tiny_dataset: Path, manifest: Manifest, tmp_path: Path
) -> None:
    assert stored_statistics(model) is None
    for _ in range(2):
        measure(model, tiny_dataset, manifest, slices=8)
        assert checkpoint.load(model.folder).digest == model.digest
    (tmp_path / "copy").mkdir()
    checkpoint.copy_model(model, tmp_path / "copy")
    copied = stored_statistics(checkpoint.load(tmp_path / "copy"))
    assert copied is not None
    assert set(copied.tasks) == {Modality.MRI, Modality.PET}
    assert copied.kspace_factor == 4
    assert copied.facts["slices"]["train MRI"] == 8
    assert copied.facts["dataset_digest"] == manifest.dataset_digest


def test_damaged_statistics_are_noticed(
    model: Checkpoint, tiny_dataset: Path, manifest: Manifest
) -> None:
    measure(model, tiny_dataset, manifest, slices=8)
    (model.folder / checkpoint.OUTLIERS).write_bytes(b"altered")
    with pytest.raises(InputError, match=r"outliers\.safetensors is missing or has changed"):
        checkpoint.load(model.folder)


def test_the_job_refuses_another_dataset_and_registered_models(
    model: Checkpoint, tiny_dataset: Path
) -> None:
    def refusal(**chosen: str) -> str:
        settings = {"model": str(model.folder), "data": tiny_dataset, **chosen}
        with pytest.raises(InputError) as caught:
            measure_model(MeasureSettings(**settings))
        return str(caught.value)

    assert "was trained on dataset abababababab" in refusal()
    assert "is registered and stays as it is" in refusal(model="models:/amir@champion")
    assert not (model.folder / checkpoint.OUTLIERS).exists()


def test_the_factor_is_that_of_the_mr_slices(manifest: Manifest, tiny_dataset: Path) -> None:
    assert kspace_factor(manifest) == 4
    paired = [
        shard.model_copy(update={"parameters": {"name": "paired"}})
        for shard in manifest.shards["train"]
    ]
    shards = manifest.shards | {"train": paired}
    assert kspace_factor(manifest.model_copy(update={"shards": shards})) == 1
