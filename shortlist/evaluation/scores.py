"""What a system's scores tell besides the order: how good the products are that get a high one, and a low one.

A score that claims to be a probability can be checked against what it claims. Any other can still be read as a
threshold ("show nothing below .4"), as far as equal scores mean equally good products for different queries.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rerank.reliability import reliability
from retrieval.records import Qrels, Run
from shortlist.evaluation.paired import bootstrap_shares
from shortlist.evaluation.records import Estimate, Interval

BINS = 10
"""Bins of scores: tenths are the custom of reliability diagrams (Guo et al., ICML 2017, use 15 for 10,000 pairs)."""

MINIMUM_PAIRS = 10
"""Judged products per bin, on average: fewer make fewer bins, and fewer than two bins make no profile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreBin:
    """Judged products whose scores lie near each other.

    Attributes:
        low: Lowest score.
        high: Highest score.
        mean: Mean score.
        products: How many.
        grades: Grade -> how many of them have it.
        good: Share of those with a good grade, and its bootstrap interval over queries.
    """

    low: float
    high: float
    mean: float
    products: int
    grades: Mapping[int, int]
    good: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreProfile:
    """The judged products among the first ``k`` of every answer, by their score.

    Attributes:
        is_probability: The scores claim to be probabilities of a good grade; bins are then tenths of [0, 1], else they
            hold about equally many products.
        good: Smallest grade that counts as good.
        k: Places looked at.
        judged: Products in the bins.
        unjudged: Products among the first ``k`` that nobody judged, left out.
        bins: Highest scores first; empty where the scores cannot be read so.
        absent: Why there are none; empty otherwise.
        brier: Mean squared difference between a probability and what came true (0 or 1); ``None`` for other scores.
        calibration_error: Mean absolute difference between probability and share over the bins, weighted by their
            products; ``None`` for other scores.
        skill: One less ``brier`` over that of always claiming the share of good products, with its bootstrap interval
            over queries; ``None`` for other scores.
        debiased_error: Root mean squared difference over bins of equal size, less what chance alone puts there;
            ``None`` for other scores. Source: `rerank.reliability`.
    """

    is_probability: bool
    good: int
    k: int
    judged: int
    unjudged: int
    bins: tuple[ScoreBin, ...]
    absent: str
    brier: float | None = None
    calibration_error: float | None = None
    skill: Estimate | None = None
    debiased_error: float | None = None


@dataclass(frozen=True, slots=True)
class _Pair:
    query: int
    score: float
    grade: int


def score_profile(
    run: Run,
    qrels: Qrels,
    *,
    k: int,
    good: int,
    is_probability: bool = False,
    trials: int = 10_000,
    seed: int = 7,
) -> ScoreProfile:
    """Return what the scores of a run tell about its first ``k`` products.

    Args:
        run: query_id -> (product_id, score), best first.
        qrels: The judgments of the evaluated queries.
        k: Places looked at: below, some systems only keep an order.
        good: Smallest grade that counts as good.
        is_probability: The scores claim to be probabilities of such a grade, and lie in [0, 1].
        trials: Resamples of the intervals.
        seed: Seeds them.

    Source: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78(1), 1950;
    expected calibration error: Naeini, Cooper & Hauskrecht, AAAI 2015.
    """
    heads = [(query_id, run.get(query_id, [])[:k]) for query_id in qrels]
    pairs = [
        _Pair(query, score, qrels[query_id][product_id])
        for query, (query_id, head) in enumerate(heads)
        for product_id, score in head
        if product_id in qrels[query_id]
    ]
    absent = "" if is_probability and pairs else _absent(pairs, [[score for _, score in head] for _, head in heads])
    starts = [] if absent else _starts(pairs, is_probability)
    if not absent and len(starts) < 2:
        absent = "its scores take too few different values"
    bins = () if absent else _bins(pairs, starts, queries=len(heads), good=good, trials=trials, seed=seed)
    truths = [(pair.score, pair.grade >= good) for pair in pairs]
    told = None
    if is_probability and pairs:
        claimed, true = zip(*truths, strict=True)
        told = reliability(claimed, true, [pair.query for pair in pairs], seed=seed)
    return ScoreProfile(
        is_probability=is_probability,
        good=good,
        k=k,
        judged=len(pairs),
        unjudged=sum(len(head) for _, head in heads) - len(pairs),
        bins=bins,
        absent=absent,
        brier=float(np.mean([(score - true) ** 2 for score, true in truths])) if is_probability and truths else None,
        calibration_error=sum(of.products * abs(of.mean - of.good.mean) for of in bins) / len(pairs)
        if is_probability and pairs
        else None,
        skill=None if told is None else Estimate(told.skill, Interval(*told.skill_interval)),
        debiased_error=None if told is None else told.calibration_error,
    )


def _absent(pairs: Sequence[_Pair], answers: Sequence[Sequence[float]]) -> str:
    if len(pairs) < 2 * MINIMUM_PAIRS:
        return f"only {len(pairs)} judged products are among its first ones, fewer than {2 * MINIMUM_PAIRS}"
    at_rank: dict[int, set[float]] = defaultdict(set)
    for answer in answers:
        for rank, score in enumerate(answer):
            at_rank[rank].add(score)
    if all(len(scores) == 1 for scores in at_rank.values()):
        return "its scores are the same for every query: they are made of ranks and say no more than the order"
    return ""


def _starts(pairs: Sequence[_Pair], is_probability: bool) -> list[float]:
    """Return the lowest score of every bin, rising; equal scores share a bin."""
    if is_probability:
        return [number / BINS for number in range(BINS)]
    ordered, count = sorted(pair.score for pair in pairs), min(BINS, len(pairs) // MINIMUM_PAIRS)
    return sorted({ordered[number * len(ordered) // count] for number in range(count)})


def _bins(
    pairs: Sequence[_Pair], starts: Sequence[float], *, queries: int, good: int, trials: int, seed: int
) -> tuple[ScoreBin, ...]:
    """Return the bins that hold something, highest scores first; the score that a bin starts with belongs to it."""
    count = len(starts)
    places = np.searchsorted(starts, [pair.score for pair in pairs], side="right") - 1
    part, whole = np.zeros((queries, count)), np.zeros((queries, count))
    held: dict[int, list[_Pair]] = defaultdict(list)
    for place, pair in zip(places.tolist(), pairs, strict=True):
        held[place].append(pair)
        whole[pair.query, place] += 1
        part[pair.query, place] += pair.grade >= good
    intervals = bootstrap_shares(part, whole, trials=trials, seed=seed)
    return tuple(
        ScoreBin(
            low=min(pair.score for pair in held[place]),
            high=max(pair.score for pair in held[place]),
            mean=float(np.mean([pair.score for pair in held[place]])),
            products=len(held[place]),
            grades=_counted([pair.grade for pair in held[place]]),
            good=Estimate(float(part[:, place].sum() / whole[:, place].sum()), intervals[place]),
        )
        for place in sorted(held, reverse=True)
    )


def _counted(grades: Sequence[int]) -> dict[int, int]:
    return {grade: grades.count(grade) for grade in sorted(set(grades), reverse=True)}
