"""The picture: one row per panel, whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amir.dataset.manifest import read_manifest
from amir.dataset.slices import SlicePair, middle_slice
from amir.modality import Modality
from amir.panels import Panel, draw_panels


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)[..., :3]


def test_a_picture_has_a_row_for_each_modality(tiny_dataset: Path, tmp_path: Path) -> None:
    manifest = read_manifest(tiny_dataset)
    pairs = [middle_slice(tiny_dataset, manifest, "test", modality) for modality in Modality]
    panels = [Panel(pair, pair.degraded) for pair in pairs]
    three = pixels(draw_panels(panels, tmp_path / "new" / "three.png", title="Tiny"))
    one = pixels(draw_panels(panels[:1], tmp_path / "one.png", title="Tiny"))
    assert three.shape[1] == one.shape[1]
    assert three.shape[0] > 2 * one.shape[0]
    assert three.std() > 0.05


@pytest.mark.parametrize("modality", Modality)
def test_a_slice_of_nothing_is_drawn_too(modality: Modality, tmp_path: Path) -> None:
    empty = np.zeros((16, 20), np.float32)
    pair = SlicePair("p", "0" * 16, 0, modality, (1.0, 2.0), 1.0, empty, empty)
    drawn = draw_panels([Panel(pair, empty)], tmp_path / "empty.png", title="Empty")
    assert pixels(drawn).std() > 0
    assert [path.name for path in tmp_path.iterdir()] == ["empty.png"]
