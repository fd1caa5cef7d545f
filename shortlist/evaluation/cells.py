"""Pairs of systems compared over all queries and in every slice at once, corrected for the number of comparisons.

Half of the accepted chance of a false alarm goes to the question that everybody asks, the difference over all queries;
the slices share the other half, and take over the first once that question is settled (Holm's weights).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from indexing.types import BoolVector
from shortlist.evaluation.paired import (
    SAME,
    DoubleVector,
    bootstrap_intervals,
    detectable_difference,
    differences,
    holm,
    randomisation_ps,
)
from shortlist.evaluation.records import Comparison, Interval, PerQuery, Slices

ALL = "all"
"""The cell of all queries."""

_CONDENSED, _JUDGED = "condensed_", "Judged@"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two systems measured on the same queries.

    Attributes:
        baseline: Name of the one.
        candidate: Name of the other.
        before: Measure -> query_id -> value of the baseline.
        after: The same of the candidate.
    """

    baseline: str
    candidate: str
    before: Mapping[str, PerQuery]
    after: Mapping[str, PerQuery]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonOptions:
    """How pairs are compared.

    Attributes:
        trials: Sign patterns of the tests, and resamples of the intervals.
        seed: Seeds both.
        alpha: Chance of a false alarm that is accepted, over everything compared at once.
        margin: Largest loss that is acceptable, where a change is wanted for another reason (cost, say); 0 asks for a
            gain.
        min_queries: A slice's value with fewer queries is not tested: it could show nothing and would cost the others
            power.
    """

    trials: int = 10_000
    seed: int = 7
    alpha: float = 0.05
    margin: float = 0.0
    min_queries: int = 10

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.trials < 1 or self.min_queries < 1:
            raise ValueError(f"trials and min_queries must be at least 1, got {self.trials} and {self.min_queries}")
        if not 0 < self.alpha < 1 or self.margin < 0:
            raise ValueError(f"alpha must be in (0, 1) and margin 0 or more, got {self.alpha} and {self.margin}")


@dataclass(frozen=True, slots=True)
class Cells:
    """All comparisons of one call.

    Attributes:
        comparisons: Pair by pair, the cell of all queries first.
        untested: Cell -> its queries, too few to be tested.
    """

    comparisons: tuple[Comparison, ...]
    untested: Mapping[str, int] = field(default_factory=dict)

    def of(self, candidate: str) -> list[Comparison]:
        """Return the comparisons of one candidate, the cell of all queries first."""
        return [comparison for comparison in self.comparisons if comparison.candidate == candidate]


def compare_pairs(
    pairs: Sequence[Pair], *, measure: str, slices: Slices | None = None, options: ComparisonOptions | None = None
) -> Cells:
    """Compare every pair over all queries and in every value of every slice.

    Args:
        pairs: All over the same queries; candidates' names differ.
        measure: Name of the measure.
        slices: Slice -> query_id -> value; ``None`` compares over all queries alone. A value that all queries have is
            the cell of all queries and not compared again.
        options: Trials, levels and the like; ``None`` takes the defaults.

    Returns:
        Pairs x cells comparisons, their p-values corrected together.

    Raises:
        ValueError: If the pairs do not cover the same queries.
    """
    options = options or ComparisonOptions()
    if not pairs:
        return Cells(())
    values = [_Values.of(pair, measure) for pair in pairs]
    cells, untested = _cells(slices or {}, list(pairs[0].before[measure]), options.min_queries)
    ps = _ps([of.gained for of in values], cells, options)
    condensed_ps = _ps([of.condensed for of in values], cells, options)
    corrected = holm(ps, comparison_weights(len(pairs), len(cells)))
    gained = np.stack([of.gained for of in values], axis=1)
    intervals = {
        cell: bootstrap_intervals(gained[member], trials=options.trials, seed=options.seed)
        for cell, member in cells.items()
    }
    comparisons = [
        _comparison(
            pair,
            of.inside(member),
            measure=measure,
            cell=cell,
            interval=intervals[cell][place],
            p=ps[place * len(cells) + number],
            p_holm=corrected[place * len(cells) + number],
            condensed_p=condensed_ps[place * len(cells) + number],
            alpha=options.alpha,
        )
        for place, (pair, of) in enumerate(zip(pairs, values, strict=True))
        for number, (cell, member) in enumerate(cells.items())
    ]
    return Cells(tuple(comparisons), untested)


def comparison_weights(pairs: int, cells: int) -> list[float]:
    """Return the weight of every test, pair by pair, the cell of all queries first; they add up to 1."""
    if cells == 1:
        return [1 / pairs] * pairs
    return [0.5 / pairs, *[0.5 / (pairs * (cells - 1))] * (cells - 1)] * pairs


@dataclass(frozen=True, slots=True)
class _Values:
    """What a pair has per query, each float64 [n] in the order of the baseline's queries.

    ``judged`` and ``condensed`` are differences, 0 where nobody measured.
    """

    before: DoubleVector
    gained: DoubleVector
    judged: DoubleVector
    condensed: DoubleVector

    @classmethod
    def of(cls, pair: Pair, measure: str) -> "_Values":
        judged = next((name for name in pair.before if name.startswith(_JUDGED)), "")
        gained = differences(pair.before[measure], pair.after[measure])
        others = [
            differences(pair.before[name], pair.after[name])
            if name in pair.before and name in pair.after
            else np.zeros(len(gained))
            for name in (judged, _CONDENSED + measure)
        ]
        return cls(np.array(list(pair.before[measure].values()), dtype=np.float64), gained, *others)

    def inside(self, member: BoolVector) -> "_Values":
        return _Values(self.before[member], self.gained[member], self.judged[member], self.condensed[member])


def _cells(slices: Slices, queries: Sequence[str], min_queries: int) -> tuple[dict[str, BoolVector], dict[str, int]]:
    """Return cell -> which queries are in it, bool [n], and cell -> count for those too small to be tested."""
    tested: dict[str, BoolVector] = {ALL: np.ones(len(queries), dtype=np.bool_)}
    untested: dict[str, int] = {}
    for name, values in slices.items():
        of_query = [values.get(query_id, "") for query_id in queries]
        for value in sorted(set(of_query) - {""}):
            member = np.array([found == value for found in of_query], dtype=np.bool_)
            count = int(member.sum())
            if count < min_queries:
                untested[f"{name}/{value}"] = count
            elif count < len(queries):
                tested[f"{name}/{value}"] = member
    return tested, untested


def _ps(columns: Sequence[DoubleVector], cells: Mapping[str, BoolVector], options: ComparisonOptions) -> list[float]:
    """Return the p of every pair in every cell, pair by pair."""
    masks = np.stack(list(cells.values()), axis=1)
    everything = np.concatenate([column[:, np.newaxis] * masks for column in columns], axis=1)
    return randomisation_ps(everything, trials=options.trials, seed=options.seed)


def _comparison(
    pair: Pair,
    values: _Values,
    *,
    measure: str,
    cell: str,
    interval: Interval,
    p: float,
    p_holm: float,
    condensed_p: float,
    alpha: float,
) -> Comparison:
    gained = values.gained
    some = len(gained) > 0
    return Comparison(
        measure=measure,
        baseline=pair.baseline,
        candidate=pair.candidate,
        cell=cell,
        queries=len(gained),
        baseline_mean=float(values.before.mean()) if some else 0.0,
        candidate_mean=float((values.before + gained).mean()) if some else 0.0,
        difference=float(gained.mean()) if some else 0.0,
        interval=interval,
        p=p,
        p_holm=p_holm,
        wins=int(np.count_nonzero(gained > SAME)),
        ties=int(np.count_nonzero(np.abs(gained) <= SAME)),
        losses=int(np.count_nonzero(gained < -SAME)),
        detectable=detectable_difference(gained, alpha=alpha),
        judged_difference=float(values.judged.mean()) if some else 0.0,
        condensed_difference=float(values.condensed.mean()) if some else 0.0,
        condensed_p=condensed_p,
    )
