"""What restorations are compared with."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from amir.dataset.manifest import read_manifest
from amir.dataset.slices import SlicePair, middle_slice, spread_slices
from amir.evaluation.methods import SIGMAS, DegradedInput, GaussianFilter, choose_gaussian_filter
from amir.modality import Modality


@pytest.fixture(scope="module")
def pair(tiny_dataset: Path) -> SlicePair:
    return middle_slice(tiny_dataset, read_manifest(tiny_dataset), "test", Modality.PET)


def test_the_degraded_input_is_left_as_it_is(pair: SlicePair) -> None:
    assert DegradedInput().restore([pair])[0] is pair.degraded


def test_the_filter_blurs_each_task_by_its_own_width(pair: SlicePair) -> None:
    sharp = GaussianFilter({Modality.PET: 0.0, Modality.CT: 2.0}).restore([pair])[0]
    blurred = GaussianFilter({Modality.PET: 2.0, Modality.CT: 0.0}).restore([pair])[0]
    assert np.array_equal(sharp, pair.degraded)
    assert blurred.dtype == np.float32
    assert blurred.std() < pair.degraded.std()
    assert blurred.mean() == pytest.approx(pair.degraded.mean(), rel=1e-3)


def test_the_width_is_chosen_on_the_training_split_alone(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(tiny_dataset)
    chosen = choose_gaussian_filter(tiny_dataset, manifest, list(Modality))
    shutil.copytree(tiny_dataset / "train", tmp_path / "train")
    assert choose_gaussian_filter(tmp_path, manifest, list(Modality)) == chosen
    assert set(chosen.sigmas.values()) <= set(SIGMAS)


def test_no_other_width_does_better_there(tiny_dataset: Path) -> None:
    manifest = read_manifest(tiny_dataset)
    best = choose_gaussian_filter(tiny_dataset, manifest, [Modality.PET]).sigmas[Modality.PET]

    def mean_psnr(sigma: float) -> float:
        pairs = spread_slices(tiny_dataset, manifest, "train", Modality.PET, 24)
        method = GaussianFilter({Modality.PET: sigma})
        return float(np.mean([p.score(method.restore([p])[0]).psnr for p in pairs]))

    assert mean_psnr(best) == max(mean_psnr(sigma) for sigma in SIGMAS)
    assert mean_psnr(best) >= mean_psnr(0.0)


def test_the_note_tells_the_widths() -> None:
    note = GaussianFilter({Modality.MRI: 0.0, Modality.PET: 1.25}).note()
    assert "MRI 0, PET 1.25" in note
    assert "training split" in note
