"""Crops cut from a shard's bytes are those of the decoded slices; damage is named."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from amir.dataset.schema import SCHEMA, pack, unpack
from amir.dataset.shard import Shard, write_shard
from amir.dataset.stored_pixels import StoredPixels, Window
from amir.errors import InputError

NAME = "one.parquet"


def write(folder: Path, images: list[np.ndarray]) -> None:
    """A shard with the images as targets; each degraded slice is 0.5 higher, so it is float32."""
    rows = []
    for k, image in enumerate(images):
        (good, good_type), (bad, bad_type) = pack(image), pack(image + np.float32(0.5))
        rows.append(
            dict.fromkeys(("patient_id", "scan_id", "plane", "unit", "degradation"), "x")
            | {"modality": "CT", "slice_index": k, "spacing_mm": [1.0, 1.0]}
            | {"height": image.shape[0], "width": image.shape[1], "intensity_scale": 1.0 + k}
            | {"target": good, "target_dtype": good_type}
            | {"degraded": bad, "degraded_dtype": bad_type}
        )
    write_shard(folder / NAME, rows)


def images(shapes: list[tuple[int, int]]) -> list[np.ndarray]:
    """Of either stored type by turns."""
    generator = np.random.default_rng(0)
    whole = [generator.integers(-1024, 3000, shape).astype(np.float32) for shape in shapes]
    return [image / 4 if k % 3 == 1 else image for k, image in enumerate(whole)]


SHAPES = {
    "one": [(5, 7)],
    "three row groups of different slices": [(20 + k, 41 - k) for k in range(19)],
    "values larger than a page": [(600, 700)] * 10,
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_a_window_shows_what_the_decoded_slice_shows(
    shapes: list[tuple[int, int]], tmp_path: Path
) -> None:
    write(tmp_path, images(shapes))
    stored, shard = StoredPixels(tmp_path, NAME), Shard(tmp_path, NAME)
    rows = [row for number in range(-(-len(shapes) // 8)) for row in shard.group(number)]
    for k, ((height, width), row) in enumerate(zip(shapes, rows, strict=True)):
        assert (stored.height[k], stored.width[k], stored.scale[k]) == (height, width, 1.0 + k)
        window = Window(top=k % 3, left=1, height=height - 4, width=width - 3)
        for pixels, cut in stored.read(k, window).items():
            whole = unpack(row[pixels], row[f"{pixels}_dtype"], height, width)
            assert cut.dtype == whole.dtype
            assert np.array_equal(cut, whole[k % 3 :, 1:][: height - 4, : width - 3])


def test_damage_is_an_error_that_names_the_shard_or_changes_no_more_than_pixels(
    tmp_path: Path,
) -> None:
    write(tmp_path, images([(9, 11)] * 10))
    sound, generator = (tmp_path / NAME).read_bytes(), random.Random(2)
    told = []
    for k in range(200):
        place = generator.randrange(len(sound))
        damaged = bytearray(sound)
        damaged[place] ^= 1 << generator.randrange(8)
        (tmp_path / NAME).write_bytes(damaged if k % 4 else sound[:place])
        try:
            stored = StoredPixels(tmp_path, NAME)
            for row in range(10):
                cuts = stored.read(row, Window(0, 0, 9, 11))
                assert {cut.shape for cut in cuts.values()} == {(9, 11)}
        except InputError as error:
            told.append((error.code, str(error)))
    assert len(told) > 50  # all the shortened files, and what is not pixels in the others
    assert all(code == "invalid_dataset" and NAME in text for code, text in told)


def test_a_shard_that_another_program_wrote_anew_is_refused(tmp_path: Path) -> None:
    write(tmp_path, images([(9, 11)] * 3))
    table = pq.read_table(tmp_path / NAME)
    assert table.schema.equals(SCHEMA)
    pq.write_table(table, tmp_path / NAME, compression="zstd")
    with pytest.raises(InputError, match="target is not stored as the platform writes it"):
        StoredPixels(tmp_path, NAME)


def test_a_slice_with_fewer_bytes_than_its_shape_needs_is_named(tmp_path: Path) -> None:
    write(tmp_path, images([(9, 11)] * 3))
    rows = Shard(tmp_path, NAME).group(0)
    rows[0]["height"] = 8
    write_shard(tmp_path / NAME, rows)
    with pytest.raises(
        InputError, match=r"shard one\.parquet, row 0: target has \d+ bytes, not 176"
    ):
        StoredPixels(tmp_path, NAME).read(0, Window(0, 0, 4, 4))
