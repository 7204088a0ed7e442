"""What the settings of a space do to the gain, and how much of that is certain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

CONFIDENCE = 0.95
FEWEST_IN_GROUP = 3  # for an interval
GROUPS = 4  # along an axis of many values
FEWEST_TRIALS = 12  # for an importance
FORESTS, TREES, SHUFFLES = 30, 30, 5


@dataclass(frozen=True)
class Group:
    """Trials whose places on an axis are neighbours. lower, upper: their places, from 0 to 1.

    half: half the width of the 95 % interval of the mean (Student's t), None for too few trials.
    """

    lower: float
    upper: float
    mean: float
    half: float | None
    count: int


@dataclass(frozen=True)
class Importance:
    """How much worse a random forest predicts the gain of trials it has not seen when one setting
    is shuffled, over twice the variance of the gain: roughly the share of the variance that the
    setting has a part in (the total Sobol index, were the forest perfect).

    shares: [forests, settings + 1]; the last is of a column of noise: what chance alone gives.
    explained: share of the variance that each forest explains [forests]; below 0 is worse than the
    mean.
    """

    shares: Values
    explained: Values

    def middle(self) -> Values:
        return np.asarray(self.shares.mean(axis=0))

    def interval(self) -> tuple[Values, Values]:
        """Where 90 % of the forests lie, each grown on another draw of the trials."""
        low, high = np.percentile(self.shares, (5, 95), axis=0)
        return low, high


def groups(places: Values, gains: Values, *, continuous: bool) -> list[Group]:
    """Mean gain along one axis. places, gains: one per trial.

    continuous: whether hardly two trials have the same value, so that neighbours are a group.
    """
    return [_group(places[own], gains[own]) for own in _members(places, continuous)]


def _members(places: Values, continuous: bool) -> list[NDArray[np.bool_]]:
    """Which trials are a group: those of one value, or up to a quarter of them, neighbours all."""
    if not continuous:
        return [places == value for value in np.unique(places)]
    count = max(1, min(GROUPS, len(places) // FEWEST_IN_GROUP))
    of = np.empty(len(places), int)
    of[np.argsort(places, kind="stable")] = np.arange(len(places)) * count // len(places)
    return [of == number for number in range(count)]


def importance(places: Values, gains: Values, *, seed: int = 0) -> Importance | None:
    """places: [trials, settings]; gains: [trials]. None for fewer than twelve trials, or all equal.

    Each forest grows on trials drawn with replacement and predicts those not drawn.
    """
    from sklearn.ensemble import RandomForestRegressor

    if len(gains) < FEWEST_TRIALS or np.ptp(gains) == 0:
        return None
    chance = np.random.default_rng(seed)
    table = np.column_stack([places, chance.random(len(places))])
    shares, explained = [], []
    for number in range(FORESTS):
        drawn = chance.integers(len(gains), size=len(gains))
        unseen = np.setdiff1d(np.arange(len(gains)), drawn)
        if not len(unseen):
            continue
        forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=number)
        forest.fit(table[drawn], gains[drawn])
        asked = np.concatenate([table[unseen], *_shuffled(table[unseen], chance)])
        errors = np.square(forest.predict(asked).reshape(-1, len(unseen)) - gains[unseen])
        whole, *shuffled = errors.mean(axis=1) / gains.var()
        shares.append((np.reshape(shuffled, (-1, SHUFFLES)).mean(axis=1) - whole) / 2)
        explained.append(1 - whole)
    return Importance(np.array(shares), np.array(explained))


def alike(places: Values, gains: Values, *, continuous: bool) -> float | None:
    """p of "the groups along this axis are alike" (Kruskal and Wallis); None for fewer than two."""
    from scipy.stats import kruskal

    found = [gains[own] for own in _members(places, continuous)]
    if len(found) < 2 or np.ptp(gains) == 0:
        return None
    return float(kruskal(*found).pvalue)


def _group(places: Values, gains: Values) -> Group:
    from scipy.stats import t

    half = None
    if len(gains) >= FEWEST_IN_GROUP:
        spread = gains.std(ddof=1) / np.sqrt(len(gains))
        half = float(t.ppf((1 + CONFIDENCE) / 2, len(gains) - 1) * spread)
    return Group(float(places.min()), float(places.max()), float(gains.mean()), half, len(gains))


def _shuffled(table: Values, chance: np.random.Generator) -> Iterator[Values]:
    """The table with one column in another order, for each column several times."""
    for column in range(table.shape[1]):
        for _ in range(SHUFFLES):
            copy = table.copy()
            copy[:, column] = chance.permutation(copy[:, column])
            yield copy


def seed_spread(repeated: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation of the gain over seeds, pooled; None if nothing was repeated.

    repeated: for each setting the gains of its seeds.
    """
    several = [np.asarray(gains) for gains in repeated if len(gains) > 1]
    freedom = sum(len(gains) - 1 for gains in several)
    if not freedom:
        return None
    return float(np.sqrt(sum(np.square(g - g.mean()).sum() for g in several) / freedom))
