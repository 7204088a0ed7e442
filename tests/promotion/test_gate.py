"""Every check of the gate says no when its own bound is broken, and only then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from amir.config import GateSettings
from amir.evaluation.quantities.hot_regions import HotRegion
from amir.evaluation.quantities.scan_quantities import ScanQuantities
from amir.evaluation.tables.patients import TaskScores
from amir.modality import Modality
from amir.promotion.gate import Evidence, Verdict, judge, not_finite

SETTINGS = GateSettings()
BASE = 30.0  # dB


def scores(task: Modality, gains: Sequence[float]) -> TaskScores:
    """Two slices of each patient; the candidate gains so many dB over the rival."""
    patients = np.repeat([f"p{n}" for n in range(len(gains))], 2)
    rival = np.full(len(patients), BASE)
    candidate = rival + np.repeat(gains, 2)
    values = {"candidate": {"psnr": candidate}, "rival": {"psnr": rival}}
    return TaskScores(task, patients, patients, values, constant=0, perfect=0)


def ct_scan(shift: float) -> ScanQuantities:
    totals = {"mean_shift_restored": shift, "mean_shift_degraded": 0.0}
    return ScanQuantities("p0", "s", Modality.CT, "low_dose", totals, (), {})


def pet_scan(activity: float, bias: float = 1.0) -> ScanQuantities:
    """activity: restored over target; bias: of SUV in the hot regions."""
    regions = tuple(HotRegion(2.0, suv, suv * bias, suv / 2, suv / 2 * bias) for suv in (4, 8, 12))
    totals = {"activity_restored": 1e5 * activity, "activity_target": 1e5}
    return ScanQuantities("p0", "s", Modality.PET, "low_count", totals, (), {}, regions)


@pytest.fixture
def better() -> Evidence:
    """A candidate that is clearly better in everything."""
    gains = (0.4, 0.5, 0.6, 0.5, 0.4, 0.5)
    tasks = {task: scores(task, gains) for task in Modality}
    return Evidence("candidate", "rival", True, tasks, (ct_scan(0.2), pet_scan(1.001)), 50.0)


def with_gains(evidence: Evidence, task: Modality, gains: Sequence[float]) -> Evidence:
    return replace(evidence, tasks={**evidence.tasks, task: scores(task, gains)})


def objections(evidence: Evidence, settings: GateSettings = SETTINGS) -> list[str]:
    return judge(evidence, settings).objections


def test_a_better_candidate_passes_every_check(better: Evidence) -> None:
    verdict = judge(better, SETTINGS)
    assert verdict.accepted
    assert len(verdict.reasons) == 3 + 1 + 1 + 2 + 1
    assert verdict.as_markdown().count("| pass |") == len(verdict.reasons)


@pytest.mark.parametrize("task", list(Modality), ids=str)
def test_no_task_is_bought_with_another(better: Evidence, task: Modality) -> None:
    worse = with_gains(better, task, (-0.1, -0.2, -0.1, -0.2, -0.1, -0.2))
    assert objections(worse) == [f"{task} PSNR gain, lower 95 % bound"]


def test_a_mean_gain_that_may_be_chance_does_not_suffice(better: Evidence) -> None:
    uncertain = with_gains(better, Modality.CT, (2.0, -1.0, 1.5, -1.2, 0.8, -0.6))
    assert np.mean(uncertain.tasks[Modality.CT].values["candidate"]["psnr"]) > BASE
    assert objections(uncertain) == ["CT PSNR gain, lower 95 % bound"]


def test_a_loss_within_the_tolerance_passes_against_a_model_only(better: Evidence) -> None:
    slightly_worse = with_gains(better, Modality.MRI, (-0.02,) * 6)
    assert objections(slightly_worse) == []
    first = replace(slightly_worse, rival_is_model=False)
    assert objections(first) == ["MRI PSNR gain, lower 95 % bound"]


def test_few_patients_need_a_word_and_then_means_decide(better: Evidence) -> None:
    few = with_gains(better, Modality.PET, (0.3, 0.2, 0.4))
    allowed = GateSettings(accept_few_patients=True)
    assert objections(few) == ["PET PSNR gain, mean"]
    assert objections(few, allowed) == []
    assert objections(with_gains(few, Modality.PET, (-0.3, 0.1, 0.0)), allowed) != []
    assert "n = 3 patients" in judge(few, allowed).as_markdown()


@pytest.mark.parametrize("shift", [-1.1, 1.1])
def test_the_worst_ct_scan_decides_on_the_shift(better: Evidence, shift: float) -> None:
    shifted = replace(better, quantities=(*better.quantities, ct_scan(shift)))
    assert objections(shifted) == ["CT mean shift in flat regions, worst scan"]


@pytest.mark.parametrize("activity", [0.985, 1.015])
def test_lost_and_invented_activity_are_refused(better: Evidence, activity: float) -> None:
    wrong = replace(better, quantities=(ct_scan(0.0), pet_scan(activity)))
    assert objections(wrong) == ["PET total activity, worst scan"]


def test_hot_regions_must_keep_their_suv(better: Evidence) -> None:
    cold = replace(better, quantities=(ct_scan(0.0), pet_scan(1.0, bias=0.7)))
    assert objections(cold) == [
        f"PET concordance of {name} in hot regions" for name in ("SUVmax", "SUVmean")
    ]


def test_what_cannot_be_measured_is_said_not_hidden(better: Evidence) -> None:
    quiet = replace(pet_scan(1.0), hot_regions=())
    verdict = judge(replace(better, quantities=(quiet,)), SETTINGS)
    assert verdict.accepted
    text = verdict.as_markdown()
    assert text.count("0 hot regions in this evaluation set: not judged") == 2
    assert text.count("nothing to measure in this evaluation set") == 1


def test_a_budget_for_time_is_kept(better: Evidence) -> None:
    assert objections(better, GateSettings(latency_ms=49)) == ["time per slice of 256 x 256"]
    assert objections(better, GateSettings(latency_ms=51)) == []


def test_a_candidate_with_nan_is_refused_with_the_slice() -> None:
    verdict: Verdict = not_finite("patient p1, slice 3 restored by AMIR holds NaN")
    assert not verdict.accepted
    assert "slice 3" in verdict.as_markdown()
