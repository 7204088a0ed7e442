"""A pair to rows: cut in the plane of training, without air, with its story."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from amir.config import PrepareSettings
from amir.dataset.cohort import CohortRow
from amir.dataset.cutting import CutPair, central_range, cut_pair, slices_with_tissue
from amir.dataset.pairs import read_pair, slice_seeds
from amir.dataset.schema import unpack
from amir.errors import InputError
from amir.imaging import Scan
from amir.modality import MODELLING_RANGES, Modality
from amir.phantoms import phantom_scan


def cut(listed: CohortRow, **more: Any) -> CutPair:
    settings = PrepareSettings(cohort=Path("cohort.csv"), out=Path("out"), **more)
    return cut_pair(read_pair(listed, settings), listed, settings)


@pytest.mark.parametrize("modality", Modality)
def test_rows_are_cut_in_the_plane_of_training(
    modality: Modality, row: Callable[..., CohortRow]
) -> None:
    listed = row(phantom_scan(modality, 0, size=40, slices=12))
    rows = list(cut(listed).rows)
    plane, shape = ("coronal", (12, 40)) if modality is Modality.PET else ("axial", (40, 40))
    for cells in rows:
        assert (cells["plane"], cells["unit"]) == (plane, MODELLING_RANGES[modality].unit)
        assert (cells["height"], cells["width"]) == shape
        for name in ("target", "degraded"):
            assert unpack(cells[name], cells[f"{name}_dtype"], *shape).shape == shape


def test_slices_of_air_are_left_out() -> None:
    for modality, tissue, air in (
        (Modality.MRI, 300.0, 4.0),
        (Modality.CT, 40.0, -1000.0),
        (Modality.PET, 2.0, 0.01),
    ):
        stack = np.full((5, 20, 20), air, np.float32)
        stack[1:4, 5:15, 5:15] = tissue
        stack[4, 0, 0] = tissue  # one bright pixel is a speck
        assert slices_with_tissue(stack, modality, range(5)) == [1, 2, 3]


def test_central_slices_are_those_in_the_middle() -> None:
    assert central_range(9, 3) == range(3, 6)
    assert central_range(9, 100) == central_range(9, None) == range(9)


def test_central_slices_are_taken_of_mr_alone(row: Callable[..., CohortRow]) -> None:
    for modality in (Modality.MRI, Modality.CT):
        listed = row(phantom_scan(modality, 0, size=32, slices=5))
        kept = [cells["slice_index"] for cells in cut(listed, central_slices=3).rows]
        assert kept == ([1, 2, 3] if modality is Modality.MRI else [0, 1, 2, 3, 4])


def test_slices_of_air_are_counted(row: Callable[..., CohortRow]) -> None:
    scan = phantom_scan(Modality.CT, 0, size=32, slices=6)
    scan.voxels[..., :2] = -1000
    found = cut(row(scan))
    assert (found.count, found.air, len(list(found.rows)), len(found.prints)) == (4, 2, 4, 4)


@pytest.mark.parametrize("modality", Modality)
def test_each_row_says_how_it_was_degraded_and_from_which_seed(
    modality: Modality, row: Callable[..., CohortRow]
) -> None:
    listed = row(phantom_scan(modality, 0, size=32, slices=6))
    rows = list(cut(listed, seed=5).rows)
    stories = [json.loads(cells["degradation"]) for cells in rows]
    assert all(story.keys() == {"name", "parameters", "seed"} for story in stories)
    if modality is Modality.PET:  # simulated in axial slices, cut in coronal ones
        assert {story["seed"] for story in stories} == {5}
    else:
        seeds = slice_seeds(5, rows[0]["scan_id"], 6)
        assert [story["seed"] for story in stories] == [seeds[c["slice_index"]] for c in rows]


def test_a_given_pair_has_no_seed(row: Callable[..., CohortRow]) -> None:
    scan = phantom_scan(Modality.CT, 0, size=32, slices=2)
    for cells in cut(row(scan, scan)).rows:
        assert json.loads(cells["degradation"]) == {"name": "paired"}


def test_the_same_voxels_have_the_same_prints_in_any_file_or_orientation(tmp_path: Path) -> None:
    scan = phantom_scan(Modality.MRI, 3, size=24, slices=4)
    image = nibabel.Nifti1Image(scan.voxels, scan.affine)
    turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nibabel.save(image, tmp_path / "plain.nii")
    nibabel.save(turned, tmp_path / "turned.nii.gz")
    plain, other = (
        cut(CohortRow("p", Modality.MRI, tmp_path / name)).prints.tolist()
        for name in ("plain.nii", "turned.nii.gz")
    )
    assert plain == other
    assert len(set(plain)) == 4


@pytest.mark.parametrize(
    ("modality", "value"), [(Modality.CT, -1024.0), (Modality.PET, 0.0), (Modality.MRI, -5.0)]
)
def test_a_scan_of_nothing_but_air_is_refused_at_once(
    modality: Modality, value: float, row: Callable[..., CohortRow]
) -> None:
    voxels = np.full((24, 24, 4), value, np.float32)
    scan = Scan(voxels, np.diag([2.0, 2, 2, 1]), modality, MODELLING_RANGES[modality].unit)
    listed = row(scan, scan)
    with pytest.raises(InputError, match=r"scan [0-9a-f]{16} holds nothing but air") as caught:
        cut(listed)
    assert caught.value.code == "empty"
