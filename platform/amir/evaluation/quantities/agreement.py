"""Do two measurements of the same thing agree: concordance, and bias with its limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FEWEST_FOR_LIMITS = 5


class Agreement(NamedTuple):
    """Measured values against true ones.

    concordance: Lin's coefficient, nan where it is not defined. bias: mean difference (measured -
    true); lower, upper: limits of agreement, bias -+ 1.96 standard deviations of the difference,
    nan with fewer than five pairs.
    """

    n: int
    concordance: float
    bias: float
    lower: float
    upper: float


def concordance(measured: Sequence[float], true: Sequence[float]) -> float:
    """Lin's concordance correlation coefficient (Biometrics 45(1), 1989), -1 to 1.

    2 s_xy / (s_x^2 + s_y^2 + (mean x - mean y)^2), moments with 1/n. 1 only where every pair is
    equal: unlike Pearson's, it sees a shift or a wrong scale. nan with fewer than two pairs, or
    where all values are one and the same.
    """
    x, y = np.asarray(measured, np.float64), np.asarray(true, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"pairs needed, not shapes {x.shape} and {y.shape}")
    if len(x) < 2:
        return float("nan")
    shared = np.mean((x - x.mean()) * (y - y.mean()))
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * shared / spread) if spread > 0 else float("nan")


def agree(measured: Sequence[float], true: Sequence[float]) -> Agreement:
    """Concordance, and Bland and Altman's bias and limits (Lancet 327(8476), 1986)."""
    difference = np.asarray(measured, np.float64) - np.asarray(true, np.float64)
    n = len(difference)
    bias = float(difference.mean()) if n else float("nan")
    reach = 1.96 * float(difference.std(ddof=1)) if n >= FEWEST_FOR_LIMITS else float("nan")
    return Agreement(n, concordance(measured, true), bias, bias - reach, bias + reach)
