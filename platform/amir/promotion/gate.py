"""May this candidate take a rival's place? Every check with its value, its bound and its answer.

A better mean does not suffice: each task is asked on its own, by patients, and so are the numbers
that a reader measures in a restored scan.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from amir.config import GateSettings
from amir.evaluation.quantities.agreement import concordance
from amir.evaluation.quantities.scan_quantities import ScanQuantities
from amir.evaluation.tables.patients import TaskScores
from amir.evaluation.tables.statistics import FEWEST_PATIENTS, patient_interval
from amir.modality import Modality


@dataclass(frozen=True)
class Reason:
    """One check. value and bound in `unit`; value None where there was nothing to measure."""

    check: str
    task: str
    value: float | None
    bound: str
    unit: str
    passed: bool
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """What is known of a candidate and its rival, scored on the same slices.

    candidate, rival: names of methods in `tasks`. quantities: of the candidate's restored scans.
    milliseconds: to restore one slice of 256 x 256.
    """

    candidate: str
    rival: str
    rival_is_model: bool
    tasks: Mapping[Modality, TaskScores]
    quantities: Sequence[ScanQuantities]
    milliseconds: float


@dataclass(frozen=True)
class Verdict:
    """All reasons; accepted if every check has passed."""

    reasons: tuple[Reason, ...]

    @property
    def accepted(self) -> bool:
        return all(reason.passed for reason in self.reasons)

    @property
    def objections(self) -> list[str]:
        return [f"{r.task} {r.check}".strip() for r in self.reasons if not r.passed]

    def as_json(self) -> str:
        reasons = [asdict(reason) for reason in self.reasons]
        return json.dumps({"accepted": self.accepted, "reasons": reasons}, indent=1) + "\n"

    def as_markdown(self) -> str:
        lines = ["| Check | Task | Value | Bound | Verdict | |", "|---|---|---|---|---|---|"]
        for r in self.reasons:
            value = "n/a" if r.value is None else f"{r.value:+.4g} {r.unit}".strip()
            answer = "pass" if r.passed else "**FAIL**"
            lines.append(f"| {r.check} | {r.task} | {value} | {r.bound} | {answer} | {r.note} |")
        return "\n".join(lines)


def judge(evidence: Evidence, settings: GateSettings, *, seed: int = 0) -> Verdict:
    """All checks; seed draws the resampled patients."""
    reasons = [_gain(evidence, task, settings, seed) for task in evidence.tasks]
    reasons += _ct_shift(evidence, settings)
    reasons += _pet_activity(evidence, settings)
    reasons += _pet_concordance(evidence, settings)
    reasons.append(_latency(evidence, settings))
    return Verdict(tuple(reasons))


def not_finite(message: str) -> Verdict:
    """The verdict on a candidate whose images hold NaN or infinity: nothing else is asked."""
    return Verdict((Reason("finite images", "", None, "all voxels", "", False, message),))


def _gain(evidence: Evidence, task: Modality, settings: GateSettings, seed: int) -> Reason:
    """The lower bound of the paired PSNR gain; with few patients only a mean, if allowed."""
    found = evidence.tasks[task]
    gains = found.values[evidence.candidate]["psnr"] - found.values[evidence.rival]["psnr"]
    least = -settings.tolerance_db if evidence.rival_is_model else 0.0
    interval = patient_interval(gains, found.patients, seed=seed)
    n = f"n = {len(found.people)} patients, mean {gains.mean():+.4g} dB"
    if interval is None:
        allowed = settings.accept_few_patients
        remedy = "accepted by setting" if allowed else "--gate.accept-few-patients allows so few"
        return Reason(
            "PSNR gain, mean",
            str(task),
            float(gains.mean()),
            f"> {least:g} from {FEWEST_PATIENTS} patients",
            "dB",
            allowed and bool(gains.mean() > least),
            f"{n}, no interval: {remedy}",
        )
    return Reason(
        "PSNR gain, lower 95 % bound",
        str(task),
        interval.lower,
        f"> {least:g}",
        "dB",
        interval.lower > least,
        n,
    )


def _ct_shift(evidence: Evidence, settings: GateSettings) -> Iterator[Reason]:
    shifts = [
        scan.totals["mean_shift_restored"]
        for scan in _scans(evidence, Modality.CT)
        if "mean_shift_restored" in scan.totals
    ]
    yield from _worst(
        "mean shift in flat regions, worst scan",
        evidence,
        Modality.CT,
        shifts,
        settings.ct_shift_hu,
        "HU",
    )


def _pet_activity(evidence: Evidence, settings: GateSettings) -> Iterator[Reason]:
    errors = [
        100 * (scan.totals["activity_restored"] / scan.totals["activity_target"] - 1)
        for scan in _scans(evidence, Modality.PET)
        if scan.totals["activity_target"] > 0
    ]
    percent = 100 * settings.pet_activity
    yield from _worst("total activity, worst scan", evidence, Modality.PET, errors, percent, "%")


def _worst(
    check: str,
    evidence: Evidence,
    task: Modality,
    values: Sequence[float],
    bound: float,
    unit: str,
) -> Iterator[Reason]:
    """The value furthest from zero must lie within the bound; a task that is absent has no say."""
    if task not in evidence.tasks:
        return
    if not values:
        note = "nothing to measure in this evaluation set"
        yield Reason(check, str(task), None, f"within {bound:g}", unit, True, note)
        return
    worst = max(values, key=lambda value: math.inf if math.isnan(value) else abs(value))
    yield Reason(
        check,
        str(task),
        worst,
        f"within {bound:g}",
        unit,
        abs(worst) <= bound,
        f"{len(values)} scans",
    )


def _pet_concordance(evidence: Evidence, settings: GateSettings) -> Iterator[Reason]:
    """Of the SUV in hot regions, pooled over all scans."""
    if Modality.PET not in evidence.tasks:
        return
    regions = [r for scan in _scans(evidence, Modality.PET) for r in scan.hot_regions]
    bound = f">= {settings.concordance:g}"
    for name, pairs in (
        ("SUVmax", [(r.suv_max_restored, r.suv_max_target) for r in regions]),
        ("SUVmean", [(r.suv_mean_restored, r.suv_mean_target) for r in regions]),
    ):
        check = f"concordance of {name} in hot regions"
        if len(pairs) < 2:
            note = f"{len(pairs)} hot regions in this evaluation set: not judged"
            yield Reason(check, "PET", None, bound, "", True, note)
            continue
        value = concordance(*map(list, zip(*pairs, strict=True)))
        passed = value >= settings.concordance
        yield Reason(check, "PET", value, bound, "", passed, f"{len(pairs)} regions")


def _latency(evidence: Evidence, settings: GateSettings) -> Reason:
    budget = settings.latency_ms
    return Reason(
        "time per slice of 256 x 256",
        "",
        evidence.milliseconds,
        "none set" if budget is None else f"<= {budget:g}",
        "ms",
        budget is None or evidence.milliseconds <= budget,
    )


def _scans(evidence: Evidence, task: Modality) -> list[ScanQuantities]:
    return [scan for scan in evidence.quantities if scan.modality is task]
