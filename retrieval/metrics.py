"""Ranking measures in plain Python: each formula once, in the order a reader would check it. Standard library only.

Training uses these, and the evaluation's own library is held against them: two implementations that agree by value are
worth more than one that is trusted. Every function takes one query: its ranking (product ids, best first) and its
grades (product_id -> grade, 0 or more; an absent product is unjudged and counts as 0). ``mean_over`` averages one.

A product that stands twice in a ranking would be paid twice (so an NDCG above 1 comes about); it is refused.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, repeat
from typing import TypeAlias

Grades: TypeAlias = Mapping[str, int]
"""product_id -> grade of one query; 0 is "not at all", higher is better."""

Measure: TypeAlias = Callable[[Sequence[str], Grades], float]
"""A measure of one query: (ranked product ids, grades) -> value."""

Discount: TypeAlias = Callable[[int], float]
"""Rank, from 1 -> what a gain at that rank is divided by."""


def by_log2(rank: int) -> float:
    """Return log2(rank + 1), the usual discount (trec_eval 9, m_ndcg_cut.c)."""
    return math.log2(rank + 1)


def by_rank(rank: int) -> float:
    """Return the rank itself, a steeper discount (cheat-at-search, eval.py: ``1 / log2(2**rank)``)."""
    return float(rank)


def ndcg(
    ranked: Sequence[str],
    grades: Grades,
    *,
    k: int | None,
    gains: Mapping[int, float] | None = None,
    discount: Discount = by_log2,
    ideal_grade: int | None = None,
) -> float:
    """Return the normalised discounted cumulated gain of the first ``k`` products.

    The sum of ``gain(grade) / log2(rank + 1)`` over the first ``k`` ranks, divided by the same sum for the ideal
    ranking: all judged products, best grade first, whether the system found them or not.

    Args:
        ranked: Product ids, best first, each once.
        grades: Grades of this query.
        k: Cut-off, at least 1; ``None`` measures the whole ranking.
        gains: Grade -> gain, for every grade that occurs; ``None`` takes the grade itself (linear). See
            ``exponential_gains`` for the other usual choice.
        discount: What a gain is divided by.
        ideal_grade: Divide by a ranking that holds this grade at every one of the ``k`` places, whether so many
            products have it or not; ``None`` takes the best judged products.

    Returns:
        A value in [0, 1]; 0 when nothing is ranked or no judged product has a gain.

    Raises:
        ValueError: If ``k`` < 1, a product is ranked twice, a grade is negative, ``gains`` lacks one, or
            ``ideal_grade`` comes without ``k``.

    Source: Jarvelin & Kekalainen, ACM TOIS 20(4), 2002; the discount log2(rank + 1) is trec_eval's (m_ndcg_cut.c), the
    exponential gain that of Burges et al., ICML 2005.
    """
    _refuse_repeats(ranked)
    ideal = ideal_dcg(grades, k=k, gains=gains, discount=discount, ideal_grade=ideal_grade)
    if ideal <= 0:
        return 0.0
    return _dcg((gain_of(grades.get(product_id, 0), gains) for product_id in ranked), k, discount) / ideal


def ideal_dcg(
    grades: Grades,
    *,
    k: int | None,
    gains: Mapping[int, float] | None = None,
    discount: Discount = by_log2,
    ideal_grade: int | None = None,
) -> float:
    """Return what ``ndcg`` divides by; parameters and errors are its own."""
    if k is not None:
        _require_cutoff(k)
    if ideal_grade is None:
        best = sorted((gain_of(grade, gains) for grade in grades.values()), reverse=True)
        return _dcg(best, k, discount)
    if k is None:
        raise ValueError(f"an ideal of grade {ideal_grade} at every place needs a cut-off, got k=None")
    return _dcg(repeat(gain_of(ideal_grade, gains), k), k, discount)


def recall(ranked: Sequence[str], grades: Grades, *, k: int, min_grade: int = 1) -> float:
    """Return the share of the products graded ``min_grade`` or better that stand in the first ``k`` places.

    Not capped: with more such products than ``k`` the value cannot reach 1. 0 when the query has no such product, as
    trec_eval has it.

    Raises:
        ValueError: If ``k`` < 1, ``min_grade`` < 1, or a product is ranked twice.

    Source: trec_eval 9, m_recall.c.
    """
    _require_cutoff(k)
    _require_min_grade(min_grade)
    _refuse_repeats(ranked)
    relevant = _relevant(grades, min_grade)
    if not relevant:
        return 0.0
    return sum(product_id in relevant for product_id in ranked[:k]) / len(relevant)


def reciprocal_rank(ranked: Sequence[str], grades: Grades, *, min_grade: int = 1) -> float:
    """Return 1 / rank of the first product graded ``min_grade`` or better, 0 when there is none.

    Raises:
        ValueError: If ``min_grade`` < 1, or a product is ranked twice.

    Source: Kantor & Voorhees, The TREC-5 confusion track, 1996; trec_eval 9, m_recip_rank.c.
    """
    _require_min_grade(min_grade)
    _refuse_repeats(ranked)
    ranks = (rank for rank, product_id in enumerate(ranked, start=1) if grades.get(product_id, 0) >= min_grade)
    first = next(ranks, None)
    return 0.0 if first is None else 1 / first


def average_precision(ranked: Sequence[str], grades: Grades, *, min_grade: int = 1) -> float:
    """Return the mean of the precision at the rank of every product graded ``min_grade`` or better, 0 where unranked.

    Raises:
        ValueError: If ``min_grade`` < 1, or a product is ranked twice.

    Source: Buckley & Voorhees, SIGIR 2000; trec_eval 9, m_map.c.
    """
    _require_min_grade(min_grade)
    _refuse_repeats(ranked)
    relevant = _relevant(grades, min_grade)
    if not relevant:
        return 0.0
    found = 0
    total = 0.0
    for rank, product_id in enumerate(ranked, start=1):
        if product_id in relevant:
            found += 1
            total += found / rank
    return total / len(relevant)


def judged_share(ranked: Sequence[str], grades: Grades, *, k: int) -> float:
    """Return the share of the first ``k`` products that somebody judged, whatever the grade.

    A ranking shorter than ``k`` is measured over its own length; an empty one gives 0.

    Raises:
        ValueError: If ``k`` < 1, or a product is ranked twice.

    Source: ir-measures 0.4, ``Judged@k``.
    """
    _require_cutoff(k)
    _refuse_repeats(ranked)
    top = ranked[:k]
    return sum(product_id in grades for product_id in top) / len(top) if top else 0.0


def condensed(ranked: Sequence[str], grades: Grades) -> list[str]:
    """Return the ranking with unjudged products left out, order kept.

    A measure of the condensed ranking asks: of what has been judged, is the order right? It flatters a system that
    found much nobody judged, as the plain measure punishes it: read the two together.

    Source: Sakai, Alternatives to Bpref, SIGIR 2007.
    """
    return [product_id for product_id in ranked if product_id in grades]


def exponential_gains(grades: Iterable[int]) -> dict[int, float]:
    """Return grade -> 2**grade - 1 for every grade given.

    Raises:
        ValueError: If a grade is outside 0..30 (2**30 beside 1 already drowns every lower grade).
    """
    distinct = sorted(set(grades))
    outside = [grade for grade in distinct if not 0 <= grade <= 30]
    if outside:
        raise ValueError(
            f"exponential gains need grades in 0..30, got {outside}; use linear gains, or map the grades first"
        )
    return {grade: float(2**grade - 1) for grade in distinct}


def has_gain(grades: Grades) -> bool:
    """Tell whether any product of the query has a grade above 0; a query without one can only score 0."""
    return any(grade > 0 for grade in grades.values())


def mean_over(
    qrels: Mapping[str, Grades],
    run: Mapping[str, Sequence[tuple[str, float]]],
    measure: Measure,
    *,
    counted: Callable[[Grades], bool] = has_gain,
) -> float:
    """Return the mean of a measure over all queries that count: by default those with a grade above 0.

    A judged query that the run does not answer scores 0; queries whose grades are all 0 are left out (count them with
    ``has_gain``); queries of the run without judgments are ignored. Leaving out unanswered queries instead would pay a
    system for staying silent.

    Args:
        qrels: query_id -> product_id -> grade.
        run: query_id -> (product_id, score), best first. The order counts, scores are not read.
        measure: For example ``partial(ndcg, k=10)``.
        counted: Tells from a query's grades whether it counts.

    Returns:
        The mean, or 0 when no query counts.

    Raises:
        ValueError: As the measure does.
    """
    values = [
        measure([product_id for product_id, _ in run.get(query_id, ())], grades)
        for query_id, grades in qrels.items()
        if counted(grades)
    ]
    return math.fsum(values) / len(values) if values else 0.0


def gain_of(grade: int, gains: Mapping[int, float] | None) -> float:
    """Return the gain of a grade; ``None`` for ``gains`` takes the grade itself.

    Raises:
        ValueError: If the grade is negative, or ``gains`` lacks it.
    """
    if grade < 0:
        raise ValueError(f"grades must be 0 or more, got {grade}")
    if gains is None:
        return float(grade)
    if grade not in gains:
        # An unjudged product has grade 0, and no table needs to say that 0 earns nothing.
        if grade == 0:
            return 0.0
        raise ValueError(f"gains must have every grade that occurs, got {dict(gains)} and met grade {grade}")
    return gains[grade]


def _dcg(gains: Iterable[float], k: int | None, discount: Discount) -> float:
    return sum(gain / discount(rank) for rank, gain in enumerate(islice(gains, k), start=1))


def _relevant(grades: Grades, min_grade: int) -> set[str]:
    return {product_id for product_id, grade in grades.items() if grade >= min_grade}


def _require_cutoff(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")


def _require_min_grade(min_grade: int) -> None:
    if min_grade < 1:
        raise ValueError(f"min_grade must be at least 1 (unjudged products count as grade 0), got {min_grade}")


def _refuse_repeats(ranked: Sequence[str]) -> None:
    if len(set(ranked)) == len(ranked):
        return
    first_rank: dict[str, int] = {}
    for rank, product_id in enumerate(ranked, start=1):
        if product_id in first_rank:
            ranks = f"{first_rank[product_id]} and {rank}"
            raise ValueError(f"a ranking must hold each product once, got {product_id!r} at ranks {ranks}")
        first_rank[product_id] = rank
