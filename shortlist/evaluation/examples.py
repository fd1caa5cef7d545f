"""The queries worth looking at: where one system gains or loses most against another, with both answers."""

from collections.abc import Callable, Mapping

from retrieval.records import Product, Qrels
from shortlist.evaluation.records import EvaluationOptions, Example, ShownProduct, ShownRanking, SystemResult

Finder = Callable[[str], Product]


def extremes(
    qrels: Qrels,
    systems: tuple[SystemResult, SystemResult] | None,
    *,
    measure: str,
    options: EvaluationOptions,
    products_for_display: Finder | None,
    query_texts: Mapping[str, str],
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Pick the queries that gain most and lose most.

    Args:
        qrels: The evaluated judgments.
        systems: Baseline and candidate; ``None`` when there is nothing to compare.
        measure: What the gain is measured in.
        options: How many queries and products are shown.
        products_for_display: Finds the product of an id.
        query_texts: query_id -> text.

    Returns:
        The largest gains, largest first, and the largest losses, largest first; a query without a difference is in
        neither. Equal gains are in the order of their query ids.
    """
    if systems is None:
        return (), ()
    baseline, candidate = systems
    gains = {
        query_id: candidate.per_query[measure][query_id] - value
        for query_id, value in baseline.per_query[measure].items()
    }

    def shown(query_id: str) -> Example:
        rankings = [
            ShownRanking(
                system=system.name,
                value=system.per_query[measure][query_id],
                products=_products(system, query_id, qrels[query_id], options.shown, products_for_display),
                grades=_grades(system, query_id, qrels[query_id], options.k),
            )
            for system in systems
        ]
        text = query_texts.get(query_id, query_id)
        return Example(query_id, text, gains[query_id], (rankings[0], rankings[1]))

    by_gain = sorted(gains, key=lambda query_id: (-gains[query_id], query_id))
    by_loss = sorted(gains, key=lambda query_id: (gains[query_id], query_id))
    won = [query_id for query_id in by_gain[: options.examples] if gains[query_id] > 0]
    lost = [query_id for query_id in by_loss[: options.examples] if gains[query_id] < 0]
    return tuple(map(shown, won)), tuple(map(shown, lost))


def _grades(system: SystemResult, query_id: str, grades: Mapping[str, int], k: int) -> tuple[int | None, ...]:
    return tuple(grades.get(product_id) for product_id, _ in system.run.get(query_id, [])[:k])


def _products(
    system: SystemResult, query_id: str, grades: Mapping[str, int], count: int, find: Finder | None
) -> tuple[ShownProduct, ...]:
    head = system.run.get(query_id, [])[:count]
    return tuple(
        _product(rank, product_id, grades.get(product_id), find) for rank, (product_id, _) in enumerate(head, start=1)
    )


def _product(rank: int, product_id: str, grade: int | None, find: Finder | None) -> ShownProduct:
    try:
        product = find(product_id) if find else None
    except KeyError:
        product = None
    if product is None:
        return ShownProduct(rank, product_id, title=product_id, detail="", grade=grade)
    price = "" if product.price is None else f"{product.price:,.2f}"
    detail = " · ".join(part for part in (product.brand, price) if part)
    return ShownProduct(rank, product_id, title=product.title, detail=detail, grade=grade)
