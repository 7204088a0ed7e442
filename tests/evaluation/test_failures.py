"""Slices by their gain."""

from __future__ import annotations

import pyarrow as pa
import pytest

from amir.errors import InputError
from amir.evaluation.failures import made_worse, slice_gains, worst_median_best
from amir.evaluation.methods import BASELINE
from amir.evaluation.scan_scores import SCHEMA
from amir.modality import Modality


def table(*gains: float | None, task: Modality = Modality.CT) -> pa.Table:
    """Slices with these gains over a degraded input of 20 dB."""
    rows = [
        {
            "method": method,
            "modality": str(task),
            "patient_id": f"p{k}",
            "scan_id": f"s{k}",
            "slice_index": k,
            "shard": "test/00000.parquet",
            "row": k,
            "psnr": None if gain is None else 20.0 + (gain if method == "AMIR" else 0),
            "ssim": 0.5,
        }
        for k, gain in enumerate(gains)
        for method in (BASELINE, "AMIR")
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_the_worst_slice_comes_first_within_its_task() -> None:
    scores = pa.concat_tables([table(2.0, -1.0, 0.5), table(3.0, task=Modality.MRI)])
    gains = slice_gains(scores, "AMIR")
    assert [one.gain for one in gains] == [3.0, -1.0, 0.5, 2.0]
    assert (gains[1].patient_id, gains[1].row) == ("p1", 1)


def test_slices_without_a_score_are_no_failures() -> None:
    gains = slice_gains(table(None, 1.0, float("inf")), "AMIR")
    assert [one.gain for one in gains] == [1.0]


def test_what_got_worse_is_counted() -> None:
    assert [one.gain for one in made_worse(slice_gains(table(1.0, -2.0, 0.0), "AMIR"))] == [-2.0]


def test_best_median_and_worst_are_different_slices() -> None:
    picked = worst_median_best(slice_gains(table(5.0, 1.0, 3.0, 2.0, 4.0), "AMIR"))
    assert {name: one.gain for name, one in picked.items()} == {
        "best": 5.0,
        "median": 3.0,
        "worst": 1.0,
    }
    assert list(worst_median_best(slice_gains(table(5.0), "AMIR"))) == ["best"]
    assert worst_median_best([]) == {}


def test_a_method_that_was_not_scored_is_named() -> None:
    with pytest.raises(InputError, match="no method 'AIRNET' was scored; choose from Degraded"):
        slice_gains(table(1.0), "AIRNET")
