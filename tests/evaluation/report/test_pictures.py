"""Slices as pictures, in windows that are the same for all."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image as Picture

from amir.evaluation.report.pictures import Window, error_png, grey_png, window_of
from amir.modality import Modality

WINDOW = Window(-160, 240, 100, "HU")


def opened(uri: str) -> Picture.Image:
    assert uri.startswith("data:image/png;base64,")
    return Picture.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_greys_run_from_the_windows_lower_to_its_upper_end() -> None:
    image = np.array([[-500, -160, 40, 240, 900]], np.float32)
    assert np.array(opened(grey_png(image, WINDOW))).tolist() == [[0, 0, 128, 255, 255]]
    assert np.array(opened(grey_png(image, WINDOW, inverted=True)))[0, 0] == 255


def test_no_error_is_black_and_signs_have_their_colours() -> None:
    error = np.array([[0, -100, 100, 500]], np.float32)
    none, low, high, over = np.array(opened(error_png(error, WINDOW)).convert("RGB"))[0].astype(int)
    assert none.max() < 20
    assert low[2] > low[0]
    assert high[0] > high[2]
    assert (high == over).all()


def test_ct_has_the_window_it_is_scored_in_and_others_one_of_all_their_targets() -> None:
    counts = np.zeros(256, np.int64)
    assert window_of(Modality.CT, counts)[:2] == (-160, 240)
    counts[0], counts[1:64] = 10_000, 10  # air, then tissue up to a quarter of the range
    window = window_of(Modality.PET, counts)
    assert window.lower == 0
    assert 4.8 < window.upper <= 5.1
    assert window.error == window.upper / 4


def test_a_split_of_nothing_but_air_has_the_whole_window() -> None:
    assert window_of(Modality.PET, np.zeros(256, np.int64)).upper == 20
