"""Slices through a network: in batches, one by one, in tiles that come close to the whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from amir.config import TileSettings
from amir.inference.network_runner import NetworkRunner
from amir.inference.padding import pad
from amir.inference.tiling import windows
from amir.metrics import psnr
from amir.modality import Modality
from amir.phantoms import phantom_scan
from tests.served_networks import Brightened

WHOLE = TileSettings(pixels=2**30)
QUARTERS = TileSettings(pixels=72 * 72, overlap=16)


@pytest.mark.parametrize("shape", [(4096, 4096), (16, 4096), (520, 40), (1032, 2040), (24, 24)])
def test_tiles_of_one_shape_cover_a_slice(shape: tuple[int, int]) -> None:
    seen = np.zeros(shape, bool)
    tiles = windows(*shape, pixels=256 * 256, overlap=32)
    for rows, columns in tiles:
        assert rows.start >= 0
        assert columns.start >= 0
        seen[rows, columns] = True
    assert seen.all()
    sizes = {(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in tiles}
    ((height, width),) = sizes
    assert height * width <= 256 * 256
    assert height % 8 == width % 8 == 0


@pytest.mark.parametrize("shape", [(4096, 4096), (4095, 1001), (17, 23), (1, 1)])
def test_tiles_fade_into_each_other_without_a_seam(shape: tuple[int, int]) -> None:
    image = pad(np.random.default_rng(0).random((1, *shape), dtype=np.float32))
    network = Brightened(0.5)
    tiled = NetworkRunner(network).run(image).images
    np.testing.assert_allclose(tiled, image + 0.5, atol=1e-6)
    assert max(height * width for *_, height, width in network.batches) <= 1024 * 1024


@pytest.fixture
def ct_slice() -> np.ndarray:
    """[1, 128, 128] of a phantom's abdomen, 0..1."""
    voxels = phantom_scan(Modality.CT, 0, size=128, slices=1).voxels
    return ((voxels.T + 1024) / 4095).clip(0, 1).astype(np.float32)


def test_tiles_come_close_to_the_whole_by_its_instruction_and_its_attention(
    tiny_amir: Callable[[int], nn.Module], ct_slice: np.ndarray
) -> None:
    whole = NetworkRunner(tiny_amir(0), tile=WHOLE).run(ct_slice)
    own = QUARTERS.model_copy(update={"passes": 0})
    errors = {}
    for name, tile in (("shared", QUARTERS), ("own", own)):
        tiled = NetworkRunner(tiny_amir(0), tile=tile).run(ct_slice)
        np.testing.assert_array_equal(tiled.instruction, whole.instruction)
        errors[name] = psnr(tiled.images[0], whole.images[0], float(np.ptp(whole.images[0])))
    assert errors["shared"] >= 42  # docs/serving.md gives trained networks' figures
    assert errors["shared"] > errors["own"]


def test_a_network_is_left_as_it_was(
    tiny_amir: Callable[[int], nn.Module], ct_slice: np.ndarray
) -> None:
    network = tiny_amir(0)
    before = NetworkRunner(network, tile=WHOLE).run(ct_slice).images
    NetworkRunner(network, tile=QUARTERS).run(ct_slice)
    after = NetworkRunner(network, tile=WHOLE).run(ct_slice).images
    np.testing.assert_array_equal(before, after)


def test_one_by_one_an_image_does_not_depend_on_its_neighbours(
    tiny_amir: Callable[[int], nn.Module],
) -> None:
    images = np.random.default_rng(0).random((5, 24, 40), dtype=np.float32)
    runner = NetworkRunner(tiny_amir(0), one_by_one=True)
    together = runner.run(images)
    alone = [runner.run(image[None]) for image in images]
    np.testing.assert_array_equal(together.images, np.concatenate([one.images for one in alone]))
    for level, use in together.expert_use.items():
        np.testing.assert_array_equal(use, np.concatenate([o.expert_use[level] for o in alone]))


def test_bfloat16_comes_close_to_float32(
    tiny_amir: Callable[[int], nn.Module], ct_slice: np.ndarray
) -> None:
    exact, rounded = (
        NetworkRunner(tiny_amir(0), precision=precision).run(ct_slice).images[0]
        for precision in ("float32", "bfloat16")
    )
    assert psnr(rounded, exact, float(np.ptp(exact))) > 40


def test_a_filled_batch_answers_for_its_own_slices_alone(
    tiny_amir: Callable[[int], nn.Module], ct_slice: NDArray[np.float32]
) -> None:
    """What a GPU does with sizes that it is set up for; here without graphs and compiler."""
    images = np.concatenate([ct_slice, ct_slice[:, ::-1], ct_slice[:, :, ::-1]])
    plain, usual = (NetworkRunner(tiny_amir(0)) for _ in range(2))
    usual._usual = frozenset({images.shape[1:]})
    expected, found = plain.run(images), usual.run(images)
    assert usual.batches(images.shape[1:], most=5) == [1, 2, 4, 8]
    assert plain.batches(images.shape[1:], most=5) == [1]
    np.testing.assert_allclose(found.images, expected.images, atol=1e-5)
    for level, use in expected.expert_use.items():
        np.testing.assert_allclose(found.expert_use[level], use, atol=0.01)
