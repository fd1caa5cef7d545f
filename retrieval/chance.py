"""What an nDCG is on average when chance orders products: tied ones, and all of them.

Both are exact, not sampled. Chance puts every product of a tied group in each of the group's places equally often, so
each place earns the group's mean gain.

Source: McSherry & Najork, Computing information retrieval performance measures efficiently in the presence of tied
scores, ECIR 2008, section 2.5.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from retrieval.metrics import Discount, Grades, by_log2, gain_of, ideal_dcg


def tied_ndcg(
    groups: Sequence[Collection[str]],
    grades: Grades,
    *,
    k: int | None,
    gains: Mapping[int, float] | None = None,
    discount: Discount = by_log2,
    ideal_grade: int | None = None,
) -> float:
    """Return the mean nDCG over all orders of a ranking with ties.

    Args:
        groups: Product ids, best group first; products of one group are tied.
        grades: As for ``retrieval.metrics.ndcg``, like all parameters below.
        k: Cut-off or ``None``.
        gains: Grade -> gain.
        discount: What a gain is divided by.
        ideal_grade: Grade of a fixed ideal.

    Raises:
        ValueError: As ``ndcg``; a product in two groups, or twice in one, is refused.
    """
    ids = list(chain.from_iterable(groups))
    if len(set(ids)) != len(ids):
        repeated = sorted({product_id for product_id in ids if ids.count(product_id) > 1})
        raise ValueError(f"a ranking must hold each product once, got {repeated[0]!r} more than once")
    ideal = ideal_dcg(grades, k=k, gains=gains, discount=discount, ideal_grade=ideal_grade)
    if ideal <= 0:
        return 0.0
    tied = [(sum(gain_of(grades.get(product_id, 0), gains) for product_id in group), len(group)) for group in groups]
    return _expected_dcg(tied, k, discount) / ideal


def random_ndcg(
    grades: Grades,
    *,
    k: int | None,
    among: int | None = None,
    gains: Mapping[int, float] | None = None,
    discount: Discount = by_log2,
    ideal_grade: int | None = None,
) -> float:
    """Return the mean nDCG of a random order: the floor below which a system is worse than none.

    Args:
        grades: As for ``retrieval.metrics.ndcg``, like the parameters not named here.
        k: Cut-off or ``None``.
        among: Number of products that are ordered, those without a grade included (a whole catalogue, say);
            ``None`` orders the judged ones alone.
        gains: Grade -> gain.
        discount: What a gain is divided by.
        ideal_grade: Grade of a fixed ideal.

    Raises:
        ValueError: As ``ndcg``; or if ``among`` is below the number of judged products.
    """
    count = len(grades) if among is None else among
    if count < len(grades):
        raise ValueError(f"among must reach the {len(grades)} judged products, got {among}")
    ideal = ideal_dcg(grades, k=k, gains=gains, discount=discount, ideal_grade=ideal_grade)
    if ideal <= 0:
        return 0.0
    return _expected_dcg([(sum(gain_of(grade, gains) for grade in grades.values()), count)], k, discount) / ideal


def _expected_dcg(groups: Iterable[tuple[float, int]], k: int | None, discount: Discount) -> float:
    """Sum the discounted mean gains of tied groups, each given by the sum of its gains and its size."""
    total, placed = 0.0, 0
    for gain, size in groups:
        end = placed + size if k is None else min(placed + size, k)
        total += sum(gain / size / discount(rank) for rank in range(placed + 1, end + 1))
        placed += size
    return total
