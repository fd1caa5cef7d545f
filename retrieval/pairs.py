"""Judgments as training pairs: which query texts belong to which product texts, and which must not be pushed apart.

Texts, not identifiers, are what a network sees: two products that render to the same text are one here, and two queries
of the same wording share their judgments. Otherwise a text would be its own negative.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexing.errors import SourceDataError
from indexing.types import BoolVector, IntVector
from retrieval.records import Judgment, Query


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Pairs for one step.

    Attributes:
        queries: Rows of ``TrainingPairs.queries``, int64 [b].
        products: Rows of ``TrainingPairs.products``, int64 [b]; place i is a positive of query i.
        known: bool [b, b]; True where product j has a grade above 0 for query i, the diagonal included.
    """

    queries: IntVector
    products: IntVector
    known: BoolVector


@dataclass(frozen=True, slots=True)
class TrainingPairs:
    """The texts that training uses and what is known of them.

    Attributes:
        queries: Distinct query texts, in the order of their first query.
        products: Distinct texts of the products that are a positive of any query.
        positives: For every query, the rows of its positives, int64, ascending.
        known: Sorted int64 keys ``query * len(products) + product`` of every pair with a grade above 0.
        missing: Judgments above 0 whose product has no text; they are left out.
    """

    queries: tuple[str, ...]
    products: tuple[str, ...]
    positives: tuple[IntVector, ...]
    known: IntVector
    missing: int

    def count(self, max_positives: int) -> int:
        """Return the number of pairs in an epoch that uses at most ``max_positives`` a query."""
        return sum(min(len(rows), max_positives) for rows in self.positives)

    def batches(self, max_positives: int, batch_size: int) -> int:
        """Return the number of batches of such an epoch; a last single pair makes none."""
        return len(range(0, self.count(max_positives) - 1, batch_size))

    def epoch(self, rng: np.random.Generator, *, max_positives: int, batch_size: int) -> Iterator[PairBatch]:
        """Draw positives for every query, shuffle the pairs, and yield them in batches; a last single pair is dropped.

        Args:
            rng: Draws; its state is the only thing that differs between epochs.
            max_positives: Positives drawn per query at most, without repeats.
            batch_size: Pairs per batch.
        """
        drawn = [rng.permutation(rows)[:max_positives] for rows in self.positives]
        queries = np.repeat(np.arange(len(drawn)), [len(rows) for rows in drawn])
        products = np.concatenate(drawn)
        order = rng.permutation(len(queries))
        for start in range(0, len(order) - 1, batch_size):
            batch = order[start : start + batch_size]
            yield self._batch(queries[batch], products[batch])

    def _batch(self, queries: IntVector, products: IntVector) -> PairBatch:
        keys = queries[:, None] * len(self.products) + products[None, :]
        # Looked up, not np.isin: that sorts all known pairs anew for every batch.
        nearest = np.minimum(np.searchsorted(self.known, keys), len(self.known) - 1)
        return PairBatch(queries=queries, products=products, known=self.known[nearest] == keys)


def training_pairs(
    queries: Sequence[Query], judgments: Sequence[Judgment], product_texts: Mapping[str, str], *, min_grade: int
) -> TrainingPairs:
    """Turn judgments into training pairs.

    Args:
        queries: The queries to learn from; judgments of others are ignored.
        judgments: Grades; at or above ``min_grade`` is a positive, above 0 is never a negative.
        product_texts: product_id -> text as it will be encoded.
        min_grade: Lowest grade of a positive, at least 1.

    Raises:
        SourceDataError: When there are fewer than two pairs; the message gives the grades that there are.
    """
    query_rows = {text: row for row, text in enumerate(dict.fromkeys(query.text for query in queries))}
    row_of_query = {query.query_id: query_rows[query.text] for query in queries}
    graded = [judged for judged in judgments if judged.query_id in row_of_query and judged.grade > 0]
    readable = [judged for judged in graded if judged.product_id in product_texts]
    positive = [judged for judged in readable if judged.grade >= min_grade]
    if len({(row_of_query[judged.query_id], product_texts[judged.product_id]) for judged in positive}) < 2:
        _refuse_too_few(queries, judgments, missing=len(graded) - len(readable), min_grade=min_grade)
    texts = dict.fromkeys(product_texts[judged.product_id] for judged in positive)
    product_rows = {text: row for row, text in enumerate(texts)}

    def keys(some: Sequence[Judgment]) -> IntVector:
        """Return one sorted key per distinct pair whose product is a positive of any query."""
        places = (
            (row_of_query[judged.query_id], product_rows.get(product_texts[judged.product_id])) for judged in some
        )
        return np.array(sorted({q * len(product_rows) + p for q, p in places if p is not None}), dtype=np.int64)

    positive_of, product_of = np.divmod(keys(positive), len(product_rows))
    return TrainingPairs(
        queries=tuple(query_rows),
        products=tuple(product_rows),
        positives=tuple(product_of[positive_of == row] for row in range(len(query_rows))),
        known=keys(readable),
        missing=len(graded) - len(readable),
    )


def _refuse_too_few(queries: Sequence[Query], judgments: Sequence[Judgment], *, missing: int, min_grade: int) -> None:
    wanted = {query.query_id for query in queries}
    grades = Counter(judged.grade for judged in judgments if judged.query_id in wanted)
    found = ", ".join(f"grade {grade}: {count}" for grade, count in sorted(grades.items())) or "none"
    raise SourceDataError(
        f"fewer than two (query, product) pairs to learn from: trainer.min_grade={min_grade}, and the judgments of the "
        f"{len(wanted)} training queries are {found} ({missing} of them above 0 name a product without a text)"
    )
