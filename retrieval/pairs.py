"""Judgments as training pairs: which query texts belong to which product texts, and which must not be pushed apart.

Texts, not identifiers, are what a network sees: two products that render to the same text are one here, and two queries
of the same wording share their judgments. Otherwise a text would be its own negative. Variants of one product (colours,
sizes) can be told apart by a shopper but seldom by a query, so none of them is a negative where one is known to fit.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from indexing.errors import SourceDataError
from indexing.types import BoolMatrix, IntVector
from retrieval.records import Judgment, Query
from retrieval.training_config import Weighting

AlsoFits = Callable[[Sequence[str], Sequence[str]], BoolMatrix]
"""(query texts [q], product ids [p]) -> bool [q, p]: places that must not be negatives although unlabelled."""


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Pairs for one step, every text once.

    Attributes:
        queries: Distinct rows of ``TrainingPairs.queries``, int64 [q].
        products: Distinct rows of ``TrainingPairs.products``, int64 [p]: positives, and negatives drawn for the step.
        weights: float32 [q, p]; above 0 where product j is a positive of query i.
        negatives: bool [q, p]; True where product j may be pushed away from query i: no variant of it has a grade above
            0 for the query.
    """

    queries: IntVector
    products: IntVector
    weights: npt.NDArray[np.float32]
    negatives: BoolMatrix


@dataclass(frozen=True, slots=True)
class TrainingPairs:
    """The texts that training uses and what is known of them.

    Attributes:
        queries: Distinct query texts, in the order of their first query.
        products: Distinct texts of the products that were judged for any query, or mined.
        product_ids: One catalogue id for each of ``products``.
        positives: For every query, the rows of its positives, int64, ascending.
        negatives: For every query, rows that are worth pushing away: judged 0, or mined. Possibly empty.
        groups: Variant group of every product, int64 [p]; a product without variants is alone in its own.
        known: Sorted int64 keys ``query * number of groups + group`` of every pair with a grade above 0.
        weighted: Sorted int64 keys ``query * len(products) + product`` of every positive.
        weights: Weight of each of ``weighted``, float32, in (0, 1].
        missing: Judgments above 0 whose product has no text; they are left out.
        also_fits: Tells further places that must not be negatives.
    """

    queries: tuple[str, ...]
    products: tuple[str, ...]
    product_ids: tuple[str, ...]
    positives: tuple[IntVector, ...]
    negatives: tuple[IntVector, ...]
    groups: IntVector
    known: IntVector
    weighted: IntVector
    weights: npt.NDArray[np.float32]
    missing: int
    also_fits: AlsoFits | None = None

    def count(self, max_positives: int) -> int:
        """Return the number of pairs in an epoch that uses at most ``max_positives`` a query."""
        return sum(min(len(rows), max_positives) for rows in self.positives)

    def batches(self, max_positives: int, batch_size: int) -> int:
        """Return the number of batches of such an epoch; a last single pair makes none."""
        return len(range(0, self.count(max_positives) - 1, batch_size))

    def epoch(
        self, rng: np.random.Generator, *, max_positives: int, batch_size: int, max_negatives: int = 0
    ) -> Iterator[PairBatch]:
        """Draw positives for every query, shuffle the pairs, and yield them in batches; a last single pair is dropped.

        Args:
            rng: Draws; its state is the only thing that differs between epochs.
            max_positives: Positives drawn per query at most, without repeats.
            batch_size: Pairs per batch.
            max_negatives: Of ``negatives``, drawn per query and batch at most, without repeats.
        """
        drawn = [rng.permutation(rows)[:max_positives] for rows in self.positives]
        queries = np.repeat(np.arange(len(drawn)), [len(rows) for rows in drawn])
        products = np.concatenate(drawn)
        order = rng.permutation(len(queries))
        for start in range(0, len(order) - 1, batch_size):
            batch = order[start : start + batch_size]
            asked = np.unique(queries[batch])
            against = [rng.permutation(self.negatives[row])[:max_negatives] for row in asked] if max_negatives else []
            yield self.batch(asked, np.unique(np.concatenate([products[batch], *against]).astype(np.int64)))

    def batch(self, queries: IntVector, products: IntVector) -> PairBatch:
        """Return what is known of every place between some queries and some products, each given once."""
        places = queries[:, None] * len(self.products) + products[None, :]
        found, at = _look_up(self.weighted, places)
        groups = queries[:, None] * (int(self.groups.max()) + 1) + self.groups[products][None, :]
        fits = _look_up(self.known, groups)[0]
        if self.also_fits is not None:
            names = [self.product_ids[row] for row in products]
            fits = fits | self.also_fits([self.queries[row] for row in queries], names)
        weights = np.where(found, self.weights[at], np.float32(0))
        return PairBatch(queries=queries, products=products, weights=weights, negatives=~fits & ~found)

    def with_negatives(
        self, mined: Mapping[str, Sequence[str]], product_texts: Mapping[str, str], variants: Mapping[str, str]
    ) -> "TrainingPairs":
        """Return the same pairs with further negatives; whatever is known to fit is left out.

        Args:
            mined: Query text -> product ids.
            product_texts: As for :func:`training_pairs`.
            variants: As for :func:`training_pairs`.
        """
        rows = {text: row for row, text in enumerate(self.products)}
        ids = dict(zip(self.products, self.product_ids, strict=True))
        for product_id in dict.fromkeys(name for names in mined.values() for name in names):
            text = product_texts[product_id]
            rows.setdefault(text, len(rows))
            ids.setdefault(text, product_id)
        names = [_group_name(ids[text], text, variants) for text in rows]
        numbers = {name: int(group) for name, group in zip(names, self.groups, strict=False)}
        width = int(self.groups.max()) + 1
        for name in names[len(self.products) :]:
            numbers.setdefault(name, len(numbers))  # groups are numbered without gaps
        query_of, product_of = np.divmod(self.weighted, len(self.products))
        asked, group_of = np.divmod(self.known, width)
        groups = np.array([numbers[name] for name in names], dtype=np.int64)
        wider = replace(
            self,
            products=tuple(rows),
            product_ids=tuple(ids[text] for text in rows),
            groups=groups,
            known=asked * (int(groups.max()) + 1) + group_of,
            weighted=query_of * len(rows) + product_of,
        )
        added = [[rows[product_texts[name]] for name in mined.get(text, ())] for text in self.queries]
        return replace(wider, negatives=_safe_negatives(wider, self.negatives, added))


def training_pairs(
    queries: Sequence[Query],
    judgments: Sequence[Judgment],
    product_texts: Mapping[str, str],
    *,
    min_grade: int,
    max_grade: int = 0,
    weighting: Weighting = Weighting.graded,
    variants: Mapping[str, str] | None = None,
    also_fits: AlsoFits | None = None,
) -> TrainingPairs:
    """Turn judgments into training pairs.

    Args:
        queries: The queries to learn from; judgments of others are ignored.
        judgments: Grades; at or above ``min_grade`` is a positive, above 0 is never a negative, 0 is a negative worth
            drawing.
        product_texts: product_id -> text as it will be encoded.
        min_grade: Lowest grade of a positive, at least 1.
        max_grade: Highest grade of the scale; 0 takes the highest that occurs.
        weighting: Whether a positive counts by its grade.
        variants: product_id -> name of its variant group; products that are not in it have no variants.
        also_fits: Tells further places that must not be negatives, by rows of the result.

    Raises:
        SourceDataError: When there are fewer than two pairs, or a grade is outside the scale; the message gives the
            grades that there are.
    """
    query_rows = {text: row for row, text in enumerate(dict.fromkeys(query.text for query in queries))}
    row_of_query = {query.query_id: query_rows[query.text] for query in queries}
    judged = [judgment for judgment in judgments if judgment.query_id in row_of_query]
    highest = _scale(judged, max_grade)
    readable = [judgment for judgment in judged if judgment.product_id in product_texts]
    missing = sum(judgment.grade > 0 for judgment in judged) - sum(judgment.grade > 0 for judgment in readable)
    positive = [judgment for judgment in readable if judgment.grade >= min_grade]
    if len({(row_of_query[judgment.query_id], product_texts[judgment.product_id]) for judgment in positive}) < 2:
        _refuse_too_few(queries, judgments, missing=missing, min_grade=min_grade)

    named = _name_products([each.product_id for each in readable], product_texts, variants or {})
    keyed = [(row_of_query[each.query_id], each) for each in readable]
    grades = _grades([(query, each) for query, each in keyed if each.grade >= min_grade], product_texts, named)
    weighted = np.array(sorted(grades), dtype=np.int64)
    shares = [grades[key] / highest if weighting is Weighting.graded else 1.0 for key in weighted.tolist()]
    positive_of, product_of = np.divmod(weighted, len(named.rows))
    nothing = tuple(np.empty(0, dtype=np.int64) for _ in query_rows)
    pairs = TrainingPairs(
        queries=tuple(query_rows),
        products=tuple(named.rows),
        product_ids=tuple(named.ids[text] for text in named.rows),
        positives=tuple(product_of[positive_of == row] for row in range(len(query_rows))),
        negatives=nothing,
        groups=named.groups,
        known=_known(keyed, product_texts, named, variants or {}),
        weighted=weighted,
        weights=np.array(shares, dtype=np.float32),
        missing=missing,
        also_fits=also_fits,
    )
    refused: list[list[int]] = [[] for _ in query_rows]
    for query, judgment in keyed:
        if judgment.grade == 0:
            refused[query].append(named.rows[product_texts[judgment.product_id]])
    return replace(pairs, negatives=_safe_negatives(pairs, nothing, refused))


@dataclass(frozen=True, slots=True)
class _Named:
    """Rows of distinct texts, one id of each, their groups, and the number of every group's name."""

    rows: Mapping[str, int]
    ids: Mapping[str, str]
    groups: IntVector
    group_rows: Mapping[str, int]


def _name_products(product_ids: Sequence[str], product_texts: Mapping[str, str], variants: Mapping[str, str]) -> _Named:
    ids: dict[str, str] = {}
    for product_id in product_ids:
        ids.setdefault(product_texts[product_id], product_id)
    names = [_group_name(product_id, text, variants) for text, product_id in ids.items()]
    group_rows = {name: row for row, name in enumerate(dict.fromkeys(names))}
    return _Named(
        rows={text: row for row, text in enumerate(ids)},
        ids=ids,
        groups=np.array([group_rows[name] for name in names], dtype=np.int64),
        group_rows=group_rows,
    )


def _group_name(product_id: str, text: str, variants: Mapping[str, str]) -> str:
    # A text cannot be a group's name by accident: the two kinds of name start differently.
    return f"variant {variants[product_id]}" if product_id in variants else f"text {text}"


def _grades(
    positive: Sequence[tuple[int, Judgment]], product_texts: Mapping[str, str], named: _Named
) -> dict[int, int]:
    """Return the key of every pair of a query and a product text, with the highest of its grades."""
    grades: dict[int, int] = {}
    for query, judgment in positive:
        key = query * len(named.rows) + named.rows[product_texts[judgment.product_id]]
        grades[key] = max(judgment.grade, grades.get(key, 0))
    return grades


def _known(
    keyed: Sequence[tuple[int, Judgment]],
    product_texts: Mapping[str, str],
    named: _Named,
    variants: Mapping[str, str],
) -> IntVector:
    """Return the sorted keys of every pair of a query and a group of which some product has a grade above 0."""
    width = len(named.group_rows)
    keys = set()
    for query, judgment in keyed:
        if judgment.grade > 0:
            text = product_texts[judgment.product_id]
            # A text of two ids may lie in the group of the other; the own group is there if any of it has a row.
            groups = {named.group_rows.get(_group_name(judgment.product_id, text, variants))}
            groups.add(int(named.groups[named.rows[text]]))
            keys |= {query * width + group for group in groups if group is not None}
    return np.array(sorted(keys), dtype=np.int64)


def _safe_negatives(
    pairs: TrainingPairs, before: Sequence[IntVector], added: Sequence[Sequence[int]]
) -> tuple[IntVector, ...]:
    """Return the negatives of every query, ascending, less those whose group is known to fit."""
    safe = []
    for row, (old, new) in enumerate(zip(before, added, strict=True)):
        rows = np.unique(np.concatenate([old, np.asarray(new, dtype=np.int64)]))
        if len(rows):
            rows = rows[pairs.batch(np.array([row]), rows).negatives[0]]
        safe.append(rows)
    return tuple(safe)


def _look_up(keys: IntVector, wanted: IntVector) -> tuple[BoolMatrix, IntVector]:
    """Return which of ``wanted`` are among the sorted ``keys``, and where."""
    # Looked up, not np.isin: that sorts all known pairs anew for every batch.
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[at] == wanted, at


def _scale(judgments: Sequence[Judgment], max_grade: int) -> int:
    """Return the highest grade of the scale.

    Raises:
        SourceDataError: When a grade is outside it.
    """
    grades = {judgment.grade for judgment in judgments}
    outside = sorted(grade for grade in grades if grade < 0 or (max_grade and grade > max_grade))
    if outside:
        first = next(each for each in judgments if each.grade in outside)
        raise SourceDataError(
            f"grade {first.grade} of query {first.query_id!r} and product {first.product_id!r} is outside the scale "
            f"0..{max_grade or max(grades)} (grades outside it: {outside}); correct it, or set trainer.max_grade"
        )
    return max_grade or max(grades, default=1)


def _refuse_too_few(queries: Sequence[Query], judgments: Sequence[Judgment], *, missing: int, min_grade: int) -> None:
    wanted = {query.query_id for query in queries}
    grades = Counter(judged.grade for judged in judgments if judged.query_id in wanted)
    found = ", ".join(f"grade {grade}: {count}" for grade, count in sorted(grades.items())) or "none"
    raise SourceDataError(
        f"fewer than two (query, product) pairs to learn from: trainer.min_grade={min_grade}, and the judgments of the "
        f"{len(wanted)} training queries are {found} ({missing} of them above 0 name a product without a text)"
    )
