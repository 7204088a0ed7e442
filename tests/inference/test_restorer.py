"""The one restoration path: units, scale, plane, size and what lies outside the range."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amir.checkpoint import Checkpoint
from amir.config import IntensityScale
from amir.imaging import Scan
from amir.inference import restorer as restorer_module
from amir.inference.restorer import Restorer
from amir.modality import MODELLING_RANGES, Modality
from amir.models.registry import build_model
from amir.models.restored import Restored
from amir.phantoms import phantom_scan


class Applied(nn.Module):
    """A network of the contract that applies a function to the image."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, degraded: Tensor) -> Restored:
        self.shapes.append(tuple(degraded.shape))
        assert degraded.dtype == torch.float32
        assert 0 <= degraded.min() <= degraded.max() <= 1
        return Restored(self.function(degraded), degraded.new_zeros(()))


def identity(image: Tensor) -> Tensor:
    return image


def mean_down_the_columns(image: Tensor) -> Tensor:
    """What varies from row to row is lost, what varies along a row or between slices is kept."""
    return image.mean(dim=2, keepdim=True).expand_as(image)


def scan_of(voxels: np.ndarray, modality: Modality) -> Scan:
    unit = MODELLING_RANGES[modality].unit
    return Scan(voxels.astype(np.float32), np.diag([-2.0, -2.0, 3.0, 1.0]), modality, unit)


@pytest.fixture
def tiny_restorer(tiny_network: dict[str, object]) -> Restorer:
    torch.manual_seed(0)
    return Restorer(build_model("amir", **tiny_network).eval())


@pytest.mark.parametrize("modality", Modality)
@pytest.mark.parametrize("shape", [(48, 40, 5), (17, 31, 3), (1, 1, 1), (5, 1, 40)])
def test_an_identity_network_gives_every_voxel_back(
    modality: Modality, shape: tuple[int, int, int]
) -> None:
    limits = MODELLING_RANGES[modality]
    voxels = np.random.default_rng(1).uniform(
        limits.lower - 0.1 * limits.span, limits.upper + 0.1 * limits.span, shape
    )
    restoration = Restorer(Applied(identity)).restore(scan_of(voxels, modality))
    np.testing.assert_allclose(
        restoration.scan.voxels, voxels.astype(np.float32), atol=1e-6 * limits.span, rtol=1e-5
    )


@pytest.mark.parametrize("modality", Modality)
def test_voxels_outside_the_range_pass_unchanged_and_are_counted(modality: Modality) -> None:
    limits = MODELLING_RANGES[modality]
    voxels = np.full((20, 20, 4), limits.lower + 0.25 * limits.span, np.float32)
    voxels[3, 4, 1], voxels[0, 0, 0] = limits.upper + 7.5, limits.lower - 33.25
    grey = Restorer(Applied(lambda image: image * 0 + 0.5), intensity=IntensityScale(scale="fixed"))
    restoration = grey.restore(scan_of(voxels, modality))
    assert restoration.clipped == 2
    expected = np.full_like(voxels, limits.lower + 0.5 * limits.span)
    expected[3, 4, 1], expected[0, 0, 0] = voxels[3, 4, 1], voxels[0, 0, 0]
    np.testing.assert_allclose(restoration.scan.voxels, expected, rtol=1e-6)


def test_a_scan_times_seven_is_restored_to_seven_times_the_result(tiny_restorer: Restorer) -> None:
    head = phantom_scan(Modality.MRI, 1, size=48, slices=3)
    once = tiny_restorer.restore(head)
    brighter = tiny_restorer.restore(head.with_voxels(head.voxels * 7))
    assert brighter.intensity_scale == pytest.approx(once.intensity_scale / 7, rel=1e-4)
    peak = float(np.abs(once.scan.voxels).max())
    np.testing.assert_allclose(brighter.scan.voxels / 7, once.scan.voxels, atol=1e-3 * peak)


@pytest.mark.parametrize(
    ("modality", "lost"), [(Modality.MRI, "y"), (Modality.CT, "y"), (Modality.PET, "z")]
)
def test_scans_are_cut_in_the_plane_of_training(modality: Modality, lost: str) -> None:
    limits = MODELLING_RANGES[modality]
    blurring = Restorer(Applied(mean_down_the_columns), intensity=IntensityScale(scale="fixed"))
    for axis, ramp in zip("xyz", np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), strict=True):
        values = limits.lower + (0.2 + ramp / 32) * limits.span
        restored = blurring.restore(scan_of(values, modality)).scan.voxels
        assert np.allclose(restored, values, atol=1e-3 * limits.span) == (axis != lost)


def test_a_slice_is_restored_as_in_its_stack(tiny_restorer: Restorer) -> None:
    stack = phantom_scan(Modality.CT, 0, size=40, slices=4).voxels.transpose(2, 1, 0)
    whole = tiny_restorer.restore_slices(stack, Modality.CT)
    for degraded, restored in zip(stack, whole, strict=True):
        alone = tiny_restorer.restore_slice(degraded, Modality.CT)
        np.testing.assert_allclose(alone, restored, atol=0.05)
    np.testing.assert_allclose(
        tiny_restorer.restore_slices(stack.astype(np.float64), Modality.CT), whole, atol=0.05
    )


def test_large_stacks_go_through_the_network_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restorer_module, "PIXELS_PER_BATCH", 3 * 16 * 16)
    network = Applied(identity)
    stack = np.random.default_rng(0).random((10, 16, 16), np.float32)
    restored = Restorer(network).restore_slices(stack, Modality.PET)
    assert [shape[0] for shape in network.shapes] == [3, 3, 3, 1]
    np.testing.assert_allclose(restored, stack, atol=1e-5)


def test_an_empty_stack_stays_empty() -> None:
    nothing = np.empty((0, 16, 16), np.float32)
    assert Restorer(Applied(identity)).restore_slices(nothing, Modality.CT).shape == nothing.shape


@pytest.mark.parametrize("modality", Modality)
@pytest.mark.parametrize("value", [-5.0, 0.0, 3.0])
def test_constant_scans_are_restored_to_finite_numbers(
    modality: Modality, value: float, tiny_restorer: Restorer
) -> None:
    scan = scan_of(np.full((16, 16, 2), value), modality)
    assert np.isfinite(tiny_restorer.restore(scan).scan.voxels).all()


def test_the_input_is_left_as_it_was(tiny_restorer: Restorer) -> None:
    scan = phantom_scan(Modality.PET, 0, size=32, slices=16)
    before = scan.voxels.copy()
    tiny_restorer.restore(scan)
    np.testing.assert_array_equal(scan.voxels, before)


def test_it_loads_what_a_checkpoint_says(
    save_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    saved = save_checkpoint(tmp_path / "run" / "checkpoints" / "100", seed=4)
    loaded = [
        Restorer.load(saved.folder),
        Restorer.load("run", storage=tmp_path),
        Restorer.load(saved.digest[:12], storage=tmp_path),
    ]
    scan = phantom_scan(Modality.CT, 0, size=32, slices=2)
    answers = [restorer.restore(scan) for restorer in loaded]
    for answer in answers:
        assert answer.model_digest == saved.digest
        np.testing.assert_array_equal(answer.scan.voxels, answers[0].scan.voxels)


def test_pet_above_the_range_is_restored_too_where_that_is_asked_for() -> None:
    voxels = np.full((20, 20, 16), 4, np.float32)
    voxels[3, 4, 1], voxels[10, 4, 1] = 50, 30
    halving = Applied(lambda image: image / 2)
    kept = Restorer(halving).restore(scan_of(voxels, Modality.PET)).scan.voxels
    assert (kept[3, 4, 1], kept[10, 4, 1]) == (50, 30)
    restorer = Restorer(halving, above_range="restore")
    restored = restorer.restore(scan_of(voxels, Modality.PET)).scan.voxels
    np.testing.assert_allclose(restored, voxels / 2, rtol=1e-5)
