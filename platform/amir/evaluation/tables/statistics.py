"""What few patients allow to be said: bootstrap intervals, paired tests, many comparisons.

Everything counts patients. The slices of one patient resemble each other: resampled or tested one
by one they would promise far more than is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
FEWEST_PATIENTS = 5  # for an interval
RESAMPLES = 9_999
SIGN_FLIPS = 2**14  # a test is exact up to 14 patients, beyond it draws so many

Values = NDArray[np.float64]


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    lower: float
    upper: float


def patient_interval(
    values: Values, patients: Sequence[str] | NDArray[np.str_], *, seed: int
) -> Interval | None:
    """Interval of the mean over slices, by resampling patients with all their slices.

    values: one per slice; patients: whose they are. Bias-corrected and accelerated bootstrap (Efron
    1987). None below five patients.
    """
    from scipy.stats import bootstrap

    _, of = np.unique(np.asarray(patients), return_inverse=True)
    sums, counts = np.bincount(of, values), np.bincount(of)
    if len(counts) < FEWEST_PATIENTS:
        return None
    if np.ptp(sums / counts) == 0:  # no spread to correct for
        return Interval(float(values.mean()), float(values.mean()))
    found = bootstrap(
        (sums, counts),
        lambda total, count, axis: total.sum(axis) / count.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="BCa",
        random_state=np.random.default_rng(seed),
    )
    lower, upper = found.confidence_interval
    return Interval(float(lower), float(upper))


def paired_p(differences: Sequence[float] | Values, *, seed: int) -> float:
    """Two-sided p of "the mean difference is zero": a permutation test that flips signs.

    differences: one per patient, at least one. Exact where it can try every pattern of signs.
    """
    from scipy.stats import permutation_test

    if len(differences) < 2 or not np.any(differences):
        return 1.0
    found = permutation_test(
        (np.asarray(differences),),
        lambda sample, axis: np.mean(sample, axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=SIGN_FLIPS,
        batch=1024,
        random_state=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def smallest_p(patients: int) -> float:
    """The least p that `paired_p` can give for so many patients, however clear the difference."""
    return max(2.0 ** (1 - patients), 2 / (SIGN_FLIPS + 1))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): p values of a family, such that one error in the family
    is as unlikely as each says.
    """
    order = np.argsort(ps, kind="stable")
    factors = np.arange(len(ps), 0, -1)
    stepped = np.minimum(1, np.maximum.accumulate(np.asarray(ps)[order] * factors))
    corrected = np.empty(len(ps))
    corrected[order] = stepped
    return [float(p) for p in corrected]
