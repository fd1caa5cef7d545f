"""How far probabilities can be relied on: skill over the base rate, and the error of what they claim."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rerank.logistic import Values

BINS = 10

TRIALS = 2000
"""Resamples of the intervals: the ends of a 95 % interval are then off by less than a tenth of its width."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """What held-out outcomes say of probabilities.

    Attributes:
        pairs: Number of outcomes.
        rate: Share of good ones.
        brier: Mean squared difference between probability and outcome (0 or 1).
        skill: One less ``brier`` over that of always saying ``rate``: 0 knows nothing, 1 everything, below 0 is worse
            than saying nothing.
        skill_interval: 95 %, from resampled queries.
        calibration_error: Root mean squared difference between probability and share of good outcomes over bins of
            equal size, less what chance alone would put there.
    """

    pairs: int
    rate: float
    brier: float
    skill: float
    skill_interval: tuple[float, float]
    calibration_error: float


def reliability(
    probabilities: npt.ArrayLike, is_good: npt.ArrayLike, queries: Sequence[Hashable], *, seed: int = 7
) -> Reliability:
    """Hold probabilities against outcomes that had no part in making them.

    Args:
        probabilities: In [0, 1], [n].
        is_good: What came true, bool [n].
        queries: Whose pair each is, [n]; resampled whole, as pairs of one query are alike.
        seed: Of the resampling.

    Returns:
        A skill of 0 where all outcomes are alike: nothing can be better than the base rate then.

    Raises:
        ValueError: If there is no pair, the lengths differ, or a probability lies outside [0, 1].

    Source:
        Brier, Monthly Weather Review 78(1), 1950; skill score: Murphy, Journal of Applied Meteorology 12(1), 1973.
    """
    claimed, outcomes = np.asarray(probabilities, np.float64), np.asarray(is_good, np.float64)
    if not len(claimed) or claimed.shape != outcomes.shape or len(queries) != len(claimed):
        raise ValueError(
            f"expected as many probabilities, outcomes and queries, at least one, got {claimed.shape}, "
            f"{outcomes.shape} and {len(queries)}"
        )
    if not ((claimed >= 0) & (claimed <= 1)).all():
        raise ValueError(f"probabilities must lie in [0, 1], got {claimed.min()} to {claimed.max()}")
    errors = (claimed - outcomes) ** 2
    number = {query: place for place, query in enumerate(dict.fromkeys(queries))}
    places = np.array([number[query] for query in queries])
    sums = [np.bincount(places, weights=of) for of in (np.ones(len(claimed)), outcomes, errors)]
    drawn = np.random.default_rng(seed).integers(len(number), size=(TRIALS, len(number)))
    skills = [_skill(*(of[draw].sum() for of in sums)) for draw in drawn]
    low, high = np.quantile(skills, [0.025, 0.975])
    return Reliability(
        pairs=len(claimed),
        rate=float(outcomes.mean()),
        brier=float(errors.mean()),
        skill=_skill(len(claimed), float(outcomes.sum()), float(errors.sum())),
        skill_interval=(float(low), float(high)),
        calibration_error=debiased_calibration_error(claimed, outcomes),
    )


def debiased_calibration_error(probabilities: Values, outcomes: Values, *, bins: int = BINS) -> float:
    """Return the root mean squared calibration error over bins of equal size, less what chance puts there.

    The squared difference in a bin of n pairs is too large by the variance of its share, of which
    ``share * (1 - share) / (n - 1)`` is an unbiased estimate: perfectly calibrated probabilities would seem off by some
    hundredths. It is subtracted, and what falls below 0 counts as 0.

    Args:
        probabilities: float64 [n].
        outcomes: 0 or 1, float64 [n].
        bins: Bins at most, of equal size but for equal probabilities, which are never parted.

    Returns:
        The error; 0 for fewer than two pairs.

    Source:
        Kumar, Liang, Ma, "Verified Uncertainty Calibration", NeurIPS 2019, definition 5.2.
    """
    count = min(bins, len(probabilities) // 2)
    if not count:
        return 0.0
    # Equal probabilities share a bin: parted, they would lie in the order of the pairs, which may know the outcomes.
    starts = np.unique([part[0] for part in np.array_split(np.sort(probabilities), count)])
    places = np.searchsorted(starts, probabilities, side="right") - 1
    squared = 0.0
    for place in range(len(starts)):
        members = places == place
        pairs, share = int(members.sum()), float(outcomes[members].mean())
        chance = share * (1 - share) / max(1, pairs - 1)
        squared += pairs / len(places) * ((float(probabilities[members].mean()) - share) ** 2 - chance)
    return float(np.sqrt(max(0.0, squared)))


def _skill(pairs: float, good: float, error: float) -> float:
    reference = good * (1 - good / pairs)  # of always saying the rate: n * rate * (1 - rate)
    return float(1 - error / reference) if reference > 1e-12 else 0.0
