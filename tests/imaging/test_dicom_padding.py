"""Padding and polarity: entries that say how stored values are to be understood."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from amir.errors import InputError
from amir.imaging import read_scan
from amir.modality import Modality


def rim_set_to(value: int, *, limit: int | None = None):
    """Writes padding of a stored value into the outermost pixels, and says so."""

    def alter(dataset: Dataset, _: int) -> None:
        values = dataset.pixel_array.copy()
        values[[0, -1]] = value
        values[:, [0, -1]] = value if limit is None else limit
        dataset.PixelData = values.tobytes()
        kind = "SS" if dataset.PixelRepresentation else "US"
        dataset.add_new("PixelPaddingValue", kind, value)
        if limit is not None:
            dataset.add_new("PixelPaddingRangeLimit", kind, limit)

    return alter


@pytest.mark.parametrize(
    ("modality", "stored", "limit", "expected"),
    [
        # Below the range, padding is kept, handed through and written back.
        (Modality.CT, -2000, None, {-3024}),
        (Modality.CT, 4000, None, {-1024}),
        (Modality.CT, 3998, 4000, {-1024}),
        (Modality.MRI, 65535, None, {0}),
    ],
)
def test_padding_is_never_taken_for_tissue(new_series, change, modality, stored, limit, expected):
    folder = new_series(modality)
    inner = read_scan(folder).voxels[1:-1, 1:-1]
    change(folder, rim_set_to(stored, limit=limit))
    voxels = read_scan(folder).voxels
    assert set(np.unique(voxels[[0, -1]])) | set(np.unique(voxels[:, [0, -1]])) == expected
    is_padding = (inner >= stored - 1024) & (inner <= (limit or stored) - 1024)
    kept = ~is_padding if modality is Modality.CT else inner != stored
    assert np.array_equal(voxels[1:-1, 1:-1][kept], inner[kept])


def body(*, is_inverted: bool):
    """A bright square in air, shown dark on light; inverted as some exports do without saying."""

    def alter(dataset: Dataset, _: int) -> None:
        values = np.zeros((dataset.Rows, dataset.Columns), np.int16)
        values[2:-2, 2:-2] = 1064
        dataset.PixelData = (1064 - values if is_inverted else values).astype("<i2").tobytes()
        dataset.PhotometricInterpretation = "MONOCHROME1"

    return alter


def test_values_shown_dark_on_light_mean_what_the_rescale_says(new_series, change):
    folder = new_series(Modality.CT)
    change(folder, body(is_inverted=False))
    voxels = read_scan(folder).voxels
    assert (voxels[0, 0, 0], voxels[5, 5, 0]) == (-1024, 40)


def test_values_that_were_inverted_too_are_refused_by_the_air_around_them(new_series, change):
    folder = new_series(Modality.CT)
    change(folder, body(is_inverted=True))
    with pytest.raises(InputError, match=r"PhotometricInterpretation .*inverted") as caught:
        read_scan(folder)
    assert caught.value.code == "unsupported"
