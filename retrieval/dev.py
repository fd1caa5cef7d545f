"""How good an encoder is on held-out queries while it learns: nDCG@10 over a pool of products."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from indexing.errors import SourceDataError
from indexing.types import FloatMatrix
from retrieval.bars import bar
from retrieval.metrics import ndcg
from retrieval.records import Judgment, Query

if TYPE_CHECKING:
    from retrieval.encoder import DualEncoder

CUTOFF = 10
"""Early stopping looks at nDCG@10, the measure that the evaluation reports first."""


@dataclass(frozen=True, slots=True)
class DevSet:
    """Held-out queries with their grades, and the products they are ranked over.

    Attributes:
        queries: Texts of the queries that have a grade above 0.
        grades: Per query, product_id -> grade.
        product_ids: The pool, ascending, so that a stable sort settles ties by product_id.
        products: Texts of the pool.
    """

    queries: tuple[str, ...]
    grades: tuple[Mapping[str, int], ...]
    product_ids: tuple[str, ...]
    products: tuple[str, ...]

    def ndcg(self, encoder: "DualEncoder", *, progress: bool = False) -> float:
        """Encode queries and pool, rank by inner product, and return the mean nDCG@10."""
        with bar("dev queries", len(self.products), unit="products", shown=progress, keep=False) as products_done:
            products = encoder.encode_products(self.products, progress=products_done.update)
        return self.ndcg_of(encoder.encode_queries(self.queries), products)

    def ndcg_of(self, queries: FloatMatrix, products: FloatMatrix) -> float:
        """Return the mean nDCG@10 of unit vectors; ties go to the lower product_id.

        Args:
            queries: float32 [q, d], in the order of ``queries``.
            products: float32 [p, d], in the order of ``products``.
        """
        best = np.argsort(-(queries @ products.T), axis=1, kind="stable")[:, :CUTOFF]
        ranked = [[self.product_ids[row] for row in rows] for rows in best]
        values = [ndcg(found, grades, k=CUTOFF) for found, grades in zip(ranked, self.grades, strict=True)]
        return sum(values) / len(values)


def dev_set(
    queries: Sequence[Query],
    judgments: Sequence[Judgment],
    product_texts: Mapping[str, str],
    *,
    pool: int,
    rng: np.random.Generator,
) -> DevSet:
    """Build the held-out set: every product judged for its queries, then a sample of the others.

    A sample keeps an evaluation short; it makes the numbers higher than over the whole catalogue, but they are compared
    with each other only.

    Args:
        queries: The held-out queries.
        judgments: Grades of any queries; only those of ``queries`` are used.
        product_texts: product_id -> text; judged products without a text count as not found.
        pool: Products to rank over, unless more than that are judged.
        rng: Draws the sample.

    Raises:
        SourceDataError: When none of the queries has a grade above 0.
    """
    grades: dict[str, dict[str, int]] = {query.query_id: {} for query in queries}
    for judged in judgments:
        if judged.query_id in grades:
            grades[judged.query_id][judged.product_id] = judged.grade
    usable = [query for query in queries if any(grade > 0 for grade in grades[query.query_id].values())]
    if not usable:
        raise SourceDataError(f"none of the {len(queries)} dev queries has a judgment above 0; name other dev queries")
    wanted = {product_id for query in usable for product_id in grades[query.query_id]} & product_texts.keys()
    product_ids = sorted(wanted | _sample(product_texts.keys() - wanted, pool - len(wanted), rng))
    return DevSet(
        queries=tuple(query.text for query in usable),
        grades=tuple(grades[query.query_id] for query in usable),
        product_ids=tuple(product_ids),
        products=tuple(product_texts[product_id] for product_id in product_ids),
    )


def split_queries(
    queries: Sequence[Query],
    judgments: Sequence[Judgment],
    *,
    dev_query_ids: Collection[str] | None,
    dev_share: float,
    rng: np.random.Generator,
) -> tuple[list[Query], list[Query]]:
    """Return the queries to learn from and the held-out ones, each in their order.

    Args:
        queries: All of them.
        judgments: Their grades.
        dev_query_ids: The held-out ones by name; ``None`` draws ``dev_share`` of the queries with a grade above 0, at
            least one when the share is above 0 and there are two.
        dev_share: Share to draw.
        rng: Draws.

    Raises:
        SourceDataError: When none of the queries held out by name exists.
    """
    if dev_query_ids is None:
        judged = {judgment.query_id for judgment in judgments if judgment.grade > 0}
        candidates = sorted(query.query_id for query in queries if query.query_id in judged)
        wanted = max(1, round(dev_share * len(candidates))) if dev_share > 0 and len(candidates) > 1 else 0
        dev_query_ids = _sample(candidates, wanted, rng)
    dev = [query for query in queries if query.query_id in dev_query_ids]
    if dev_query_ids and not dev:
        raise SourceDataError(f"none of the {len(dev_query_ids)} dev queries is among the {len(queries)} queries")
    return [query for query in queries if query.query_id not in dev_query_ids], dev


def _sample(names: Collection[str], count: int, rng: np.random.Generator) -> set[str]:
    ordered = sorted(names)
    drawn = rng.permutation(len(ordered))[: max(0, count)]
    return {ordered[position] for position in drawn}
