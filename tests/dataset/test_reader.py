"""Crops: the same whoever reads them, inside their slice, aligned, in 0..1."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from amir.dataset.manifest import read_manifest
from amir.dataset.plan import Index, Plan
from amir.dataset.reader import Batch, Reader, build_index, turned
from amir.dataset.schema import pack
from amir.dataset.shard import write_shard
from amir.errors import InputError
from amir.modality import Modality

SIZES = [(40, 56), (24, 24), (24, 90), (16, 20), (17, 31)]


def row(k: int, height: int, width: int) -> dict[str, object]:
    """A CT slice whose pixels tell their slice and place; the degraded one is 1000 HU higher."""
    place = np.arange(height * width, dtype=np.float32).reshape(height, width) % 400
    target = place + 400 * k - 1024
    (good, good_type), (bad, bad_type) = pack(target), pack(target + 0.5)
    return {
        "patient_id": "p",
        "scan_id": "0" * 16,
        "modality": "CT",
        "slice_index": k,
        "plane": "axial",
        "height": height,
        "width": width,
        "spacing_mm": [1.0, 1.0],
        "unit": "HU",
        "intensity_scale": 1.0,
        "target": good,
        "target_dtype": good_type,
        "degraded": bad,
        "degraded_dtype": bad_type,
        "degradation": json.dumps({"name": "paired"}),
    }


@pytest.fixture
def make_reader(tmp_path: Path) -> Callable[..., Reader]:
    """A reader of five slices of different sizes."""

    def make(*, crop: int, flips: bool = False, sizes: Sequence[tuple[int, int]] = SIZES) -> Reader:
        count = write_shard(tmp_path / "one.parquet", (row(k, *s) for k, s in enumerate(sizes)))
        index = Index(
            ("one.parquet",), np.zeros(count, int), np.arange(count), (Modality.CT,) * count
        )
        return Reader(tmp_path, Plan(index, seed=1, batch=4), crop=crop, flips=flips)

    return make


def tiny_reader(folder: Path, *, batch: int = 8, sampling: str = "uniform") -> Reader:
    index = build_index(read_manifest(folder), "train", tuple(Modality))
    return Reader(folder, Plan(index, seed=2, batch=batch, sampling=sampling), crop=32, flips=True)


def hounsfield(image: np.ndarray) -> np.ndarray:
    return image * 4095 - 1024


def same(first: Batch, second: Batch) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_a_crop_lies_inside_its_slice_and_shows_its_pixels(
    make_reader: Callable[..., Reader],
) -> None:
    batch = make_reader(crop=16).make(0, 100)
    assert batch["valid"].all()
    seen = set()
    for k, crop in zip(batch["row"], batch["target"], strict=True):
        height, width = SIZES[k]
        whole = np.frombuffer(row(k, height, width)["target"], "<i2").reshape(height, width)
        windows = np.lib.stride_tricks.sliding_window_view(whole, (16, 16))
        fits = np.isclose(windows, hounsfield(crop), atol=0.01).all(axis=(2, 3))
        assert fits.any()
        seen.add((int(k), *np.argwhere(fits)[0]))
    assert len(seen) > 200  # of 400 crops


def test_crops_reach_every_corner(make_reader: Callable[..., Reader]) -> None:
    batch = make_reader(crop=16, sizes=[(17, 18)]).make(0, 100)
    corners = {round(float(hounsfield(c)[0, 0])) + 1024 for c in batch["target"]}
    assert corners == {0, 1, 2, 18, 19, 20}


def test_a_slice_smaller_than_the_crop_is_padded_and_marked(
    make_reader: Callable[..., Reader],
) -> None:
    batch = make_reader(crop=64, sizes=[(24, 40)]).make(0, 2)
    for valid, target, degraded in zip(
        batch["valid"], batch["target"], batch["degraded"], strict=True
    ):
        assert valid[:24, :40].all()
        assert valid.sum() == 24 * 40
        assert (target[~valid] == 0).all()
        assert (degraded[~valid] == 0).all()


def test_flips_keep_the_pair_and_its_mask_aligned_and_use_every_symmetry(
    make_reader: Callable[..., Reader],
) -> None:
    plain = make_reader(crop=32, sizes=[(24, 31)]).make(0, 40)
    flipped = make_reader(crop=32, sizes=[(24, 31)], flips=True).make(0, 40)
    turns = set()
    for k in range(len(plain["row"])):
        (turn,) = (
            turn
            for turn in range(8)
            if np.array_equal(turned(plain["target"][k], turn), flipped["target"][k])
        )
        for name in ("degraded", "valid"):
            assert np.array_equal(turned(plain[name][k], turn), flipped[name][k])
        turns.add(turn)
    assert turns == set(range(8))


def test_degraded_and_target_show_the_same_place(make_reader: Callable[..., Reader]) -> None:
    batch = make_reader(crop=16, flips=True).make(0, 20)
    difference = hounsfield(batch["degraded"]) - hounsfield(batch["target"])
    np.testing.assert_allclose(difference, 0.5, atol=0.01)


@pytest.mark.parametrize("workers", [2, 4])
def test_the_workers_batches_are_the_batch_of_one_bit_for_bit(
    workers: int, tiny_dataset: Path
) -> None:
    whole = tiny_reader(tiny_dataset).make(3, 4)
    parts = [
        tiny_reader(tiny_dataset).make(3, 4, rank=rank, workers=workers) for rank in range(workers)
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in whole}
    assert same(joined, whole)


@pytest.mark.parametrize("sampling", ["proportional", "uniform"])
def test_resuming_at_any_step_gives_the_same_batches(sampling: str, tiny_dataset: Path) -> None:
    reader = tiny_reader(tiny_dataset, sampling=sampling)
    undisturbed = list(reader.batches(0, 12))
    for start in (1, 5, 11):
        resumed = tiny_reader(tiny_dataset, sampling=sampling).batches(start, 12)
        for first, second in zip(undisturbed[start:], resumed, strict=True):
            assert same(first, second)


def test_steps_read_together_are_the_steps_read_alone(tiny_dataset: Path) -> None:
    reader = tiny_reader(tiny_dataset)
    together, alone = reader.make(2, 6), list(reader.batches(2, 6))
    assert together["step"].tolist() == [step for step in range(2, 6) for _ in range(8)]
    joined = {name: np.concatenate([batch[name] for batch in alone]) for name in together}
    assert same(joined, together)


def test_every_slice_of_the_split_is_read_once_an_epoch(tiny_dataset: Path) -> None:
    reader = tiny_reader(tiny_dataset, batch=1, sampling="proportional")
    count = len(reader.plan.index)
    for epoch in range(2):
        rows = [int(b["row"][0]) for b in reader.batches(epoch * count, (epoch + 1) * count)]
        assert sorted(rows) == list(range(count))


def test_crops_are_in_the_networks_range_and_fill_it(tiny_dataset: Path) -> None:
    batch = tiny_reader(tiny_dataset).make(0, 10)
    for name in ("degraded", "target"):
        assert batch[name].dtype == np.float32
        assert batch[name].min() >= 0
        assert batch[name].max() <= 1
    mri = batch["target"][batch["modality"] == "MRI"]
    assert 0.2 < mri.max() < 0.6  # the scale brings tissue to about 1500 of 4095


def test_a_task_without_slices_is_named(tiny_dataset: Path) -> None:
    manifest = read_manifest(tiny_dataset)
    without = manifest.model_copy(update={"shards": {**manifest.shards, "train": []}})
    with pytest.raises(InputError, match=r"no CT slices in its train split; choose others with"):
        build_index(without, "train", (Modality.CT,))


def test_a_subset_of_the_tasks_is_read_alone(tiny_dataset: Path) -> None:
    index = build_index(read_manifest(tiny_dataset), "train", (Modality.CT,))
    assert set(index.modality) == {Modality.CT}
    assert len(index) == 8


def test_a_missing_shard_is_named(make_reader: Callable[..., Reader], tmp_path: Path) -> None:
    reader = make_reader(crop=16)
    (tmp_path / "one.parquet").unlink()
    with pytest.raises(InputError, match=r"shard one\.parquet"):
        reader.make(0, 1)
