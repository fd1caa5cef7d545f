"""Is the difference real: paired tests over queries, in numpy.

Two systems answer the same queries, so what varies from query to query cancels in the difference. The randomisation
test asks how often a difference as large comes about when each query's sign is drawn by lot; the bootstrap asks how
far the mean difference would move on another sample of such queries. Smucker, Allan & Carterette, CIKM 2007, compare
the two and find them in agreement, and the Wilcoxon and sign tests wanting.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from shortlist.evaluation.records import Comparison, Interval

DoubleVector = npt.NDArray[np.float64]
DoubleMatrix = npt.NDArray[np.float64]

# Two sums of the same terms in another order differ by some 1e-16 per term; measures that differ do so by 1e-6 or more.
_SAME = 1e-10

_BLOCK_CELLS = 4_000_000  # drawn at a time: 32 MB of float64, whatever the number of queries


def compare(
    baseline: tuple[str, Mapping[str, float]],
    candidate: tuple[str, Mapping[str, float]],
    *,
    measure: str,
    trials: int = 10_000,
    seed: int = 7,
) -> Comparison:
    """Hold a candidate against a baseline.

    Args:
        baseline: Its name, and query_id -> value.
        candidate: Likewise, over the same queries.
        measure: Name of the measure, for the record.
        trials: Sign flips of the test and resamples of the interval, each.
        seed: Seeds both.

    Returns:
        The comparison; without a query p is 1 and everything else 0.

    Raises:
        ValueError: If the two do not cover the same queries.
    """
    difference = differences(baseline[1], candidate[1])
    return Comparison(
        measure=measure,
        baseline=baseline[0],
        candidate=candidate[0],
        queries=len(difference),
        difference=float(difference.mean()) if len(difference) else 0.0,
        interval=bootstrap_interval(difference, trials=trials, seed=seed),
        p=randomisation_p(difference, trials=trials, seed=seed),
        wins=int(np.count_nonzero(difference > _SAME)),
        ties=int(np.count_nonzero(np.abs(difference) <= _SAME)),
        losses=int(np.count_nonzero(difference < -_SAME)),
    )


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
    """Return the two-sided p of the paired randomisation (sign-flip) test of mean 0.

    p = (1 + c) / (1 + trials), where c counts the sign patterns whose mean is at least as far from 0 as the observed
    one. Counting the observed pattern itself keeps the test valid at any number of trials: p is never 0.

    Args:
        difference: Differences per query, float64 [n]; no query, or none that differs, gives 1.
        trials: Sign patterns drawn.
        seed: Seeds the draw.

    Source: Fisher 1935; Smucker, Allan & Carterette, CIKM 2007; for the added ones, Phipson & Smyth, SAGMB 9(1), 2010.
    """
    observed = abs(difference.sum())
    generator = np.random.default_rng(seed)
    extreme = 0
    for rows in _blocks(trials, len(difference)):
        flipped = generator.integers(0, 2, size=(rows, len(difference)), dtype=np.int8)
        sums = difference.sum() - 2 * (flipped @ difference)
        extreme += int(np.count_nonzero(np.abs(sums) >= observed - _SAME))
    return (1 + extreme) / (1 + trials)


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
