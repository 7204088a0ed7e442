"""Statistics of training data: what is usual scores below one, what is not far above."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amir.errors import InputError
from amir.inference.trust.features import PLAIN
from amir.inference.trust.outliers import OutlierStatistics
from amir.modality import Modality

WIDTH = len(PLAIN) + 4 + 20


def slices_of(task: Modality, count: int, *, seed: int, shift: float = 0.0) -> np.ndarray:
    """Features around a place of each task, far more spread in some directions than in others."""
    generator = np.random.default_rng([seed, list(Modality).index(task)])
    place = np.random.default_rng(list(Modality).index(task)).normal(size=WIDTH)
    mixed = generator.normal(size=(count, 6)) @ np.random.default_rng(9).normal(size=(6, WIDTH))
    features = place + 0.3 * mixed + 0.02 * generator.normal(size=(count, WIDTH)) + shift
    features[:, PLAIN.index("air")] = 0.4
    return features


@pytest.fixture(scope="module")
def statistics() -> OutlierStatistics:
    return OutlierStatistics.fit(
        {task: slices_of(task, 60, seed=1) for task in Modality},
        {task: slices_of(task, 40, seed=2) for task in Modality},
        {"dataset_digest": "ab", "kspace_factor": 4},
        instruction_width=20,
    )


@pytest.mark.parametrize("task", Modality)
def test_of_new_slices_of_a_task_about_one_in_twenty_scores_above_one(
    statistics: OutlierStatistics, task: Modality
) -> None:
    scores = statistics.score(slices_of(task, 400, seed=3), task)
    assert 0.005 < (scores > 1).mean() < 0.15
    assert scores.max() < 2
    closer = statistics.share_closer(slices_of(task, 400, seed=3), task)
    assert closer.mean() == pytest.approx(0.5, abs=0.15)


def test_slices_of_another_task_and_shifted_ones_score_far_above(
    statistics: OutlierStatistics,
) -> None:
    assert statistics.score(slices_of(Modality.CT, 20, seed=3), Modality.MRI).min() > 3
    shifted = slices_of(Modality.CT, 20, seed=3, shift=0.5)
    assert statistics.score(shifted, Modality.CT).min() > 2
    assert (statistics.share_closer(shifted, Modality.CT) == 1).all()


def test_slices_of_air_and_unknown_tasks_have_no_score(statistics: OutlierStatistics) -> None:
    air = slices_of(Modality.CT, 3, seed=3)
    air[1, PLAIN.index("air")] = 1.0
    assert np.isnan(statistics.score(air, Modality.CT)).tolist() == [False, True, False]
    only_ct = OutlierStatistics.fit(
        {Modality.CT: slices_of(Modality.CT, 20, seed=1), Modality.PET: np.zeros((3, WIDTH))},
        {Modality.CT: slices_of(Modality.CT, 20, seed=2)},
        {},
    )
    assert np.isnan(only_ct.score(slices_of(Modality.PET, 2, seed=3), Modality.PET)).all()


def test_they_come_back_from_the_file(statistics: OutlierStatistics, tmp_path: Path) -> None:
    statistics.save(tmp_path / "outliers.safetensors")
    loaded = OutlierStatistics.load(tmp_path / "outliers.safetensors")
    assert loaded.facts == statistics.facts
    for task in Modality:
        features = slices_of(task, 5, seed=4)
        assert np.array_equal(loaded.score(features, task), statistics.score(features, task))


def test_too_few_slices_and_broken_files_are_refused(tmp_path: Path) -> None:
    few = {Modality.CT: slices_of(Modality.CT, 5, seed=1)}
    with pytest.raises(InputError, match="8 training and 8 validation slices"):
        OutlierStatistics.fit(few, few, {})
    path = tmp_path / "model" / "outliers.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"no tensors")
    with pytest.raises(InputError, match=r"model/outliers.safetensors cannot be read") as caught:
        OutlierStatistics.load(path)
    assert caught.value.code == "invalid_checkpoint"
