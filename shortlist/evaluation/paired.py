"""Is the difference real: paired tests over queries, in numpy.

Two systems answer the same queries, so what varies from query to query cancels in the difference. The randomisation
test asks how often a difference as large comes about when each query's sign is drawn by lot; the bootstrap asks how
far the mean difference would move on another sample of such queries. Smucker, Allan & Carterette, CIKM 2007, compare
the two and find them in agreement, and the Wilcoxon and sign tests wanting.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from shortlist.evaluation.records import Interval

DoubleVector = npt.NDArray[np.float64]
DoubleMatrix = npt.NDArray[np.float64]

# Two sums of the same terms in another order differ by some 1e-16 per term; measures that differ do so by 1e-6 or more.
SAME = 1e-10

_BLOCK_CELLS = 4_000_000  # drawn at a time: 32 MB of float64, whatever the number of queries


def differences(baseline: Mapping[str, float], candidate: Mapping[str, float]) -> DoubleVector:
    """Return candidate minus baseline per query, float64 [n], in the order of the baseline's queries.

    Raises:
        ValueError: If one covers a query that the other does not.
    """
    unpaired = sorted(baseline.keys() ^ candidate.keys())
    if unpaired:
        raise ValueError(
            f"a paired comparison needs the same queries on both sides, got {len(baseline)} and {len(candidate)}, "
            f"{len(unpaired)} of them on one side only, such as {unpaired[:3]}; evaluate both on the same judgments"
        )
    return np.array([candidate[query_id] - value for query_id, value in baseline.items()], dtype=np.float64)


def randomisation_p(difference: DoubleVector, *, trials: int = 10_000, seed: int = 7) -> float:
    """Return the two-sided p of the paired randomisation test of one set of differences; see `randomisation_ps`."""
    return randomisation_ps(difference[:, np.newaxis], trials=trials, seed=seed)[0]


def randomisation_ps(differences: DoubleMatrix, *, trials: int = 10_000, seed: int = 7) -> list[float]:
    """Return the two-sided p of the paired randomisation (sign-flip) test of mean 0, for every column.

    p = (1 + c) / (1 + trials), where c counts the sign patterns whose mean is at least as far from 0 as the observed
    one. Counting the observed pattern itself keeps the test valid at any number of trials: p is never 0.

    Args:
        differences: One row per query, one column per test, float64 [n, m]; all tests share the sign patterns. A query
            that is not in a test has 0 there, which changes nothing. No query, or none that differs, gives 1.
        trials: Sign patterns drawn.
        seed: Seeds the draw.

    Source: Fisher 1935; Smucker, Allan & Carterette, CIKM 2007; for the added ones, Phipson & Smyth, SAGMB 9(1), 2010.
    """
    sums = differences.sum(axis=0)
    generator = np.random.default_rng(seed)
    extreme = np.zeros(differences.shape[1], dtype=np.int64)
    for rows in _blocks(trials, len(differences)):
        flipped = generator.integers(0, 2, size=(rows, len(differences)), dtype=np.int8).astype(np.float64)
        drawn = np.abs(sums - 2 * (flipped @ differences))
        extreme += np.count_nonzero(drawn >= np.abs(sums) - SAME, axis=0)
    return [(1 + int(count)) / (1 + trials) for count in extreme]


def holm(ps: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """Return p-values corrected for their number, in the same order.

    Held against a level, they bound the chance of a single false alarm among all tests, however these depend on each
    other. The test that stands out most (least p / weight) is multiplied by the sum of all weights over its own, the
    next by the sum of what is left, and so on: with equal weights by n, n - 1, ...; none falls below the one before,
    none rises above 1.

    Args:
        ps: Uncorrected.
        weights: Importance of each test, above 0, fixed before the data were seen; ``None`` takes all as equal.

    Raises:
        ValueError: If the numbers of tests and weights differ, or a weight is not above 0.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979,
    weights included.
    """
    weights = [1.0] * len(ps) if weights is None else weights
    if len(weights) != len(ps) or not all(weight > 0 for weight in weights):
        raise ValueError(f"expected a weight above 0 for each of {len(ps)} tests, got {list(weights)}")
    corrected = [0.0] * len(ps)
    reached, left = 0.0, math.fsum(weights)
    for place in sorted(range(len(ps)), key=lambda test: ps[test] / weights[test]):
        reached = max(reached, min(1.0, ps[place] / weights[place] * left))
        corrected[place] = reached
        left -= weights[place]
    return corrected


def detectable_difference(difference: DoubleVector, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest true mean difference that such queries would show: the minimum detectable effect.

    (z[1 - alpha/2] + z[power]) * sd / sqrt(n), with the standard deviation of the differences (n - 1) and quantiles of
    the normal distribution: with 5 % and 80 %, 2.80 standard errors. A single test is meant; correcting for many asks
    for more.

    Args:
        difference: Differences per query, float64 [n]; fewer than two have no spread and give 0.
        alpha: Two-sided level of the test.
        power: How often a true difference of this size would be found.

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.
    """
    if len(difference) < 2:
        return 0.0
    quantiles = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
    return quantiles * float(difference.std(ddof=1)) / math.sqrt(len(difference))


def bootstrap_interval(values: DoubleVector, *, level: float = 0.95, trials: int = 10_000, seed: int = 7) -> Interval:
    """Return the percentile bootstrap interval of the mean of ``values``, float64 [n]; 0 to 0 when there are none."""
    return bootstrap_intervals(values[:, np.newaxis], level=level, trials=trials, seed=seed)[0]


def bootstrap_intervals(
    values: DoubleMatrix, *, level: float = 0.95, trials: int = 10_000, seed: int = 7
) -> list[Interval]:
    """Return the percentile bootstrap interval of every column's mean; queries (rows) are resampled together.

    Args:
        values: One row per query, one column per quantity, float64 [n, m].
        level: Coverage, in (0, 1).
        trials: Resamples.
        seed: Seeds the draw; equal seeds and n give equal resamples.

    Raises:
        ValueError: If ``level`` is not in (0, 1).

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    if not len(values):
        return [Interval(0.0, 0.0, level) for _ in range(values.shape[1])]
    means = _resampled_means(values, trials, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [Interval(float(lower), float(upper), level) for lower, upper in zip(low, high, strict=True)]


def bootstrap_shares(
    part: DoubleMatrix, whole: DoubleMatrix, *, level: float = 0.95, trials: int = 10_000, seed: int = 7
) -> list[Interval]:
    """Return the percentile bootstrap interval of every column's share, sum of ``part`` over sum of ``whole``.

    Rows (queries) are resampled whole, because what is counted within one of them belongs together. A resample that
    counts nothing in a column has no share there and is left out; a column that counts nothing at all gets 0 to 1.

    Args:
        part: What is counted, float64 [n, m].
        whole: Out of how many, float64 [n, m].
        level: Coverage, in (0, 1).
        trials: Resamples.
        seed: Seeds the draw.
    """
    columns = part.shape[1]
    means = _resampled_means(np.concatenate([part, whole], axis=1), trials, seed)
    intervals = []
    for parts, wholes in zip(means[:, :columns].T, means[:, columns:].T, strict=True):
        shares = parts[wholes > 0] / wholes[wholes > 0]
        low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2]) if len(shares) else (0.0, 1.0)
        intervals.append(Interval(float(low), float(high), level))
    return intervals


def _resampled_means(values: DoubleMatrix, trials: int, seed: int) -> DoubleMatrix:
    """Return the column means of ``trials`` samples of n rows drawn with replacement, float64 [trials, m].

    A sample is kept as how often each row was drawn, so that all columns share it and one matrix product sums it.
    """
    count = len(values)
    generator = np.random.default_rng(seed)
    means = []
    for rows in _blocks(trials, count):
        drawn = generator.integers(0, count, size=(rows, count))
        cells = drawn + np.arange(rows)[:, np.newaxis] * count
        times = np.bincount(cells.ravel(), minlength=rows * count).reshape(rows, count)
        means.append(times @ values / count)
    return np.concatenate(means)


def _blocks(trials: int, width: int) -> Iterator[int]:
    """Split ``trials`` rows of ``width`` cells into blocks of bounded memory."""
    size = max(1, _BLOCK_CELLS // max(1, width))
    for start in range(0, trials, size):
        yield min(size, trials - start)
