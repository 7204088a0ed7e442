"""Images that no network was trained for: flagged or refused, as set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amir.config import TrustSettings
from amir.degradations.kspace import crop_kspace
from amir.errors import InputError
from amir.imaging import read_scan, to_plane, upsample
from amir.inference.trust.verdicts import check_scan, judge_outliers
from amir.modality import MODELLING_RANGES, Modality
from amir.phantoms import phantom_scan

FLAG = TrustSettings(empty="flag")
REFUSE = TrustSettings(outliers="refuse", full_kspace="refuse")


def refusal(check: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        check()
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("modality", Modality)
def test_a_scan_of_one_value_is_refused_or_flagged(modality: Modality) -> None:
    constant = np.full((2, 16, 16), 50, np.float32)
    code, message = refusal(lambda: check_scan(constant, modality, TrustSettings()))
    assert (code, message[:31]) == ("empty", "every voxel of the scan is 50; ")
    (flag,) = check_scan(constant, modality, FLAG)
    assert flag.code == "empty"


@pytest.mark.parametrize("modality", Modality)
def test_nothing_but_air_and_all_negative_numbers_are_empty(modality: Modality) -> None:
    limits = MODELLING_RANGES[modality]
    air = np.random.default_rng(0).uniform(0, 0.01 * limits.span, (2, 16, 16)) + limits.lower
    for empty in (air, air - 0.5 * limits.span):
        code, message = refusal(lambda e=empty: check_scan(e, modality, TrustSettings()))
        assert code == "empty"
        assert "nothing but air" in message


def test_a_fully_sampled_head_is_flagged_and_a_cropped_one_is_not() -> None:
    head = phantom_scan(Modality.MRI, 0, size=96, slices=4).voxels.transpose(2, 1, 0)
    (flag,) = check_scan(head, Modality.MRI, FLAG)
    assert flag.code == "outlier"
    assert "k-space is full" in flag.message
    assert refusal(lambda: check_scan(head, Modality.MRI, REFUSE)) == ("outlier", flag.message)
    cropped = crop_kspace(head, factor=4)
    assert check_scan(cropped, Modality.MRI, REFUSE) == []
    assert check_scan(head, Modality.MRI, REFUSE, kspace_factor=1) == []
    assert check_scan(head, Modality.MRI, TrustSettings(full_kspace="off")) == []


def test_the_factor_of_training_decides_what_is_full() -> None:
    head = phantom_scan(Modality.MRI, 0, size=96, slices=4).voxels.transpose(2, 1, 0)
    halved = crop_kspace(head, factor=2)
    assert check_scan(halved, Modality.MRI, REFUSE, kspace_factor=2) == []
    assert len(check_scan(halved, Modality.MRI, FLAG, kspace_factor=4)) == 1


def test_a_small_matrix_fits_once_it_is_upsampled() -> None:
    small = phantom_scan(Modality.MRI, 0, size=48, slices=4)
    for factor, flags in ((1, 1), (4, 0)):
        slices = to_plane(upsample(small, factor, "axial"), "axial").slices
        assert len(check_scan(slices, Modality.MRI, FLAG)) == flags


@pytest.mark.parametrize("name", ["m01_T1w", "m04_T1wGd", "m06_T2w", "m07_FLAIR", "m08_T1w"])
def test_real_heads_are_told_apart_too(real_scans: Path, name: str) -> None:
    head = to_plane(read_scan(real_scans / "mri" / f"sub-{name}.nii.gz"), "axial").slices[::8]
    assert len(check_scan(head, Modality.MRI, FLAG)) == 1
    assert check_scan(crop_kspace(head, factor=4), Modality.MRI, FLAG) == []


def test_the_median_of_the_slices_decides() -> None:
    usual = judge_outliers(np.array([0.5, 0.8, 9.0, np.nan]), TrustSettings())
    assert (usual.score, usual.slices, usual.beyond, usual.flag) == (0.8, 3, 1, None)
    far = judge_outliers(np.array([4.0, 5.0, 0.5]), TrustSettings())
    assert far.flag is not None
    assert "4.0 times as far" in far.flag.message
    assert far.beyond == 2
    code, message = refusal(lambda: judge_outliers(np.array([4.0]), REFUSE))
    assert code == "outlier"
    assert "check the modality" in message
    assert judge_outliers(np.array([4.0]), TrustSettings(outliers="off")).flag is None


def test_without_statistics_there_is_no_verdict() -> None:
    verdict = judge_outliers(np.array([np.nan, np.nan]), REFUSE)
    assert (verdict.score, verdict.slices, verdict.flag) == (None, 0, None)
