"""Grade the shop for a query: every product above 0, and some that come near and deserve nothing."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from retrieval.records import Qrels, Run
from shortlist.store.grades import Intent, grade
from shortlist.store.listings import Listing
from shortlist.store.queries import StoreQuery
from shortlist.store.shop import Shop

_NEAR_MISSES = 4
"""Of each sort, per query: enough hard negatives for a reranker, few enough that files stay small."""


@dataclass(frozen=True, slots=True)
class StoreJudgment:
    """One row of ``judgments.csv``."""

    query_id: str
    product_id: str
    grade: int


def judge(query: StoreQuery, shop: Shop, seed: int) -> list[StoreJudgment]:
    """Return the query's judgments, best first, then by product: all above 0, and near misses of grade 0.

    A product that is not listed has grade 0 too: no other type than the one asked for can have more.
    """
    grades = {listing.product_id: grade(query.intent, listing) for listing in shop.of_type.get(query.intent.type, [])}
    listed = {product_id: points for product_id, points in grades.items() if points > 0}
    listed |= dict.fromkeys(_near_misses(query, shop, seed), 0)
    ranked = sorted(listed.items(), key=lambda pair: (-pair[1], pair[0]))
    return [StoreJudgment(query.query_id, product_id, points) for product_id, points in ranked]


def completed(qrels: Qrels, runs: Iterable[Run], *, depth: int) -> Qrels:
    """Add what the store's judgments say without listing it: grade 0 for the rest of each run's first ``depth``."""
    said = {query_id: dict(grades) for query_id, grades in qrels.items()}
    for run in runs:
        for query_id, answer in run.items():
            for product_id, _ in answer[:depth]:
                said[query_id].setdefault(product_id, 0)
    return said


def _near_misses(query: StoreQuery, shop: Shop, seed: int) -> list[str]:
    """Return products of grade 0 that come near by their facts.

    Four sorts: the type itself, its accessories (or the thing it is made for), the brand, the department.
    """
    rng = random.Random(f"judgments/{seed}/{query.query_id}")
    intent = query.intent
    same_type = shop.of_type.get(intent.type, [])
    neighbours = shop.of_department[same_type[0].department] if same_type else []
    chosen: list[str] = []
    for near in (same_type, _counterparts(intent, shop), shop.of_brand.get(intent.brand, []), neighbours):
        worthless = [listing for listing in near if grade(intent, listing) == 0]
        chosen += [listing.product_id for listing in rng.sample(worthless, min(_NEAR_MISSES, len(worthless)))]
    return chosen


def _counterparts(intent: Intent, shop: Shop) -> list[Listing]:
    """Return the accessories of a thing, or the thing of an accessory; those of the named model if there are any."""
    if intent.type not in shop.types:
        return []
    nouns = [shop.types[intent.type].made_for] if shop.types[intent.type].made_for else shop.accessories[intent.type]
    pairs = [listing for noun in nouns for listing in shop.of_type[noun]]
    named = {intent.model, intent.fits} - {""}
    return [listing for listing in pairs if {listing.model, listing.fits} & named] or pairs
