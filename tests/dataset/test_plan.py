"""Which crops make up a step: each slice once an epoch, whoever reads, from whatever step."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from amir.dataset.plan import Index, Plan, mix
from amir.errors import InputError
from amir.modality import Modality

COUNTS = {Modality.CT: 5, Modality.MRI: 11, Modality.PET: 21}  # 37 slices, no multiple of a batch


def plan(*, batch: int = 8, seed: int = 3, sampling: str = "proportional") -> Plan:
    modality = tuple(m for m, count in COUNTS.items() for _ in range(count))
    numbers = np.arange(len(modality))
    index = Index(("one.parquet",), np.zeros_like(numbers), numbers, modality)
    return Plan(index, seed=seed, batch=batch, sampling=sampling)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_slice_is_visited_once_an_epoch_by_all_workers_together(workers: int) -> None:
    steps = 37  # 8 epochs of 37 slices in batches of 8
    parts = [plan().slots(0, steps, rank=rank, workers=workers) for rank in range(workers)]
    shares = [part.row.reshape(steps, -1) for part in parts]
    epochs = np.concatenate(shares, axis=1).reshape(8, 37)
    assert (np.sort(epochs, axis=1) == np.arange(37)).all()


@pytest.mark.parametrize("case", range(12))
def test_nothing_is_dropped_or_doubled_whatever_the_tasks_batch_and_workers(case: int) -> None:
    """Tasks of 1 to 40 slices, batches larger and smaller than they, epochs that end anywhere."""
    choice = np.random.default_rng(case)
    counts = choice.integers(1, 40, size=3)
    modality = tuple(m for m, n in zip(Modality, counts, strict=True) for _ in range(n))
    workers, share = int(choice.integers(1, 5)), int(choice.integers(1, 9))
    numbers = np.arange(len(modality))
    index = Index(("one.parquet",), np.zeros_like(numbers), numbers, modality)
    for sampling in ("proportional", "uniform"):
        whole = Plan(index, seed=case, batch=workers * share, sampling=sampling)
        steps = 3 * 40 * 3 // whole.batch + 1
        parts = [whole.slots(0, steps, rank=r, workers=workers) for r in range(workers)]
        visited = np.concatenate([p.row.reshape(steps, -1) for p in parts], axis=1).ravel()
        for rows in whole.groups:
            order = visited[np.isin(visited, rows)]
            epochs = order[: len(order) // len(rows) * len(rows)].reshape(-1, len(rows))
            assert len(epochs) >= 3
            assert (np.sort(epochs, axis=1) == rows).all()


@pytest.mark.parametrize("workers", [2, 4])
def test_the_workers_parts_are_the_batch_of_one(workers: int) -> None:
    whole = plan().slots(5, 9)
    parts = [plan().slots(5, 9, rank=rank, workers=workers) for rank in range(workers)]
    for field in whole._fields:
        shares = [getattr(part, field).reshape(4, -1) for part in parts]
        assert np.array_equal(np.concatenate(shares, axis=1).ravel(), getattr(whole, field))


def test_every_epoch_has_its_own_order_and_its_own_crops() -> None:
    slots = plan(batch=37).slots(0, 4)
    orders, draws = slots.row.reshape(4, 37), slots.draw.reshape(4, 37)
    assert len({tuple(order) for order in orders}) == 4
    for first, second in pairwise(orders):
        assert (first == second).mean() < 0.2
    assert len(np.unique(draws)) == draws.size


def test_another_seed_is_another_order() -> None:
    assert not np.array_equal(plan(seed=0).slots(0, 4).row, plan(seed=1).slots(0, 4).row)


@pytest.mark.parametrize("sampling", ["proportional", "uniform"])
def test_any_step_is_the_same_wherever_one_starts(sampling: str) -> None:
    undisturbed = plan(sampling=sampling).slots(0, 60)
    for start in (1, 7, 41):
        resumed = plan(sampling=sampling).slots(start, 60)
        for whole, rest in zip(undisturbed, resumed, strict=True):
            assert np.array_equal(whole[start * 8 :], rest)


def test_uniform_sampling_gives_every_task_the_same_share_of_every_batch() -> None:
    slots = plan(batch=6, sampling="uniform").slots(0, 50)
    modality = np.array(plan().index.modality)[slots.row].reshape(50, 6)
    for task in COUNTS:
        assert ((modality == task).sum(axis=1) == 2).all()


def test_uniform_sampling_visits_each_slice_of_a_task_once_in_the_tasks_epoch() -> None:
    slots = plan(batch=3, sampling="uniform").slots(0, 105)
    rows = slots.row.reshape(105, 3)
    for k, count in enumerate(COUNTS.values()):
        epochs = rows[: 105 // count * count, k].reshape(-1, count)
        assert (np.sort(epochs, axis=1) == np.sort(epochs[0])).all()
        assert len(np.unique(epochs[0])) == count


def test_proportional_sampling_follows_the_number_of_slices() -> None:
    slots = plan().slots(0, 37)
    modality = np.array(plan().index.modality)[slots.row]
    assert {task: int((modality == task).sum()) for task in COUNTS} == {
        task: 8 * count for task, count in COUNTS.items()
    }


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    with pytest.raises(InputError, match="3 workers cannot share a batch of 8 equally"):
        plan().slots(0, 1, workers=3)


def test_mixed_bits_are_even_and_differ() -> None:
    epochs, rows = np.repeat(np.arange(100), 100), np.tile(np.arange(100), 100)
    bits = mix(0, epochs, rows)
    assert len(np.unique(bits)) == 10_000
    ones = np.array([(bits >> np.uint64(k)) & np.uint64(1) for k in range(64)]).mean(axis=1)
    assert np.abs(ones - 0.5).max() < 0.03
