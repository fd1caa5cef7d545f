"""Which query-product pairs a cross-encoder learns from: judged ones, hard ones and random ones, per query."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexing.errors import SourceDataError
from rerank.config import CrossEncoderTrainerConfig
from retrieval.metrics import has_gain
from retrieval.records import Judgment, Qrels, Query

UNJUDGED = -1
"""Grade of a pair that only a teacher has an opinion of."""


@dataclass(frozen=True, slots=True)
class Example:
    """A pair to learn from; unjudged products that count as bad ones have grade 0."""

    query_id: str
    product_id: str
    grade: int


def usable_grades(queries: Iterable[Query], judgments: Iterable[Judgment], product_ids: Collection[str]) -> Qrels:
    """Return the grades of the queries and products that are there, query_id -> product_id -> grade.

    Judgments of products outside the catalogue are left out, as nothing can be learned from them; queries without a
    grade above 0 stay, since what is bad for them is known.

    Raises:
        SourceDataError: If a grade is negative, or no judgment says that a product is good; with counts.
    """
    known = list(judgments)
    negative = [judgment for judgment in known if judgment.grade < 0]
    if negative:
        first = negative[0]
        raise SourceDataError(
            f"{len(negative)} of {len(known)} judgments have a grade below 0, the first for query "
            f"{first.query_id!r} and product {first.product_id!r}: {first.grade}; grades run from 0 (bad) upwards"
        )
    qrels: Qrels = {query.query_id: {} for query in queries}
    for judgment in known:
        if judgment.query_id in qrels and judgment.product_id in product_ids:
            qrels[judgment.query_id][judgment.product_id] = judgment.grade
    if not any(has_gain(grades) for grades in qrels.values()):
        usable = sum(len(grades) for grades in qrels.values())
        raise SourceDataError(
            f"no grade above 0 to learn from: {len(known)} judgments, {usable} of them for one of the "
            f"{len(qrels)} queries and {len(product_ids)} products"
        )
    return qrels


def choose_examples(
    config: CrossEncoderTrainerConfig,
    qrels: Qrels,
    *,
    query_ids: Sequence[str],
    product_ids: Sequence[str],
    recalled: Mapping[str, Sequence[str]],
) -> list[Example]:
    """Choose the pairs to learn from, the same ones for the same seed.

    Per query: up to ``max_per_grade`` judged products of every grade, up to ``negatives_from_first_stage`` further bad
    ones from its first-stage list, and ``random_negatives`` unjudged ones from the whole catalogue.

    Args:
        config: How many of each, and whether unjudged products of the lists are bad ones (``complete_grades``).
        qrels: Grades by query.
        query_ids: Queries to choose for.
        product_ids: The whole catalogue.
        recalled: query_id -> product_ids in its first-stage list; may lack queries.

    Raises:
        SourceDataError: If no query of ``query_ids`` has a grade above 0, or all pairs have the same grade, so that
            there is nothing to tell apart; with counts.
    """
    if not any(has_gain(qrels[query_id]) for query_id in query_ids):
        answered = sum(has_gain(grades) for grades in qrels.values())
        raise SourceDataError(
            f"none of the {len(query_ids)} queries left to train on has a grade above 0; {answered} of all "
            f"{len(qrels)} queries have one, so hold out fewer of them"
        )
    rng = np.random.default_rng(config.seed)
    catalogue = sorted(product_ids)
    examples = [
        example
        for query_id in query_ids
        for example in _examples_of(config, query_id, qrels[query_id], recalled.get(query_id, ()), catalogue, rng)
    ]
    counts = Counter(example.grade for example in examples)
    if len(counts) < 2:
        raise SourceDataError(
            f"all {len(examples)} pairs of {len(query_ids)} training queries have grade {next(iter(counts), 'none')}, "
            f"so there is nothing to tell apart; add judgments of other grades, or set trainer.random_negatives above 0"
        )
    return examples


def with_candidates(
    examples: Sequence[Example], query_ids: Sequence[str], recalled: Mapping[str, Sequence[str]], depth: int
) -> list[Example]:
    """Add each query's first ``depth`` candidates that are not among the examples, as `UNJUDGED`."""
    known = {(example.query_id, example.product_id) for example in examples}
    return [
        *examples,
        *(
            Example(query_id, product_id, UNJUDGED)
            for query_id in query_ids
            for product_id in recalled.get(query_id, ())[:depth]
            if (query_id, product_id) not in known
        ),
    ]


def _examples_of(
    config: CrossEncoderTrainerConfig,
    query_id: str,
    grades: Mapping[str, int],
    recalled: Sequence[str],
    catalogue: Sequence[str],
    rng: np.random.Generator,
) -> list[Example]:
    chosen: dict[str, int] = {}
    for grade in sorted(set(grades.values())):
        graded = sorted(product_id for product_id, found in grades.items() if found == grade)
        chosen |= dict.fromkeys(_sample(graded, config.max_per_grade, rng), grade)
    unknown = 0 if config.complete_grades else None
    bad = [product_id for product_id in recalled if grades.get(product_id, unknown) == 0 and product_id not in chosen]
    chosen |= dict.fromkeys(_sample(bad, config.negatives_from_first_stage, rng), 0)
    # Judged ones among those drawn are dropped: they are rare, and a list of the unjudged for every query is not cheap.
    drawn = _sample(catalogue, config.random_negatives, rng)
    chosen |= {product_id: 0 for product_id in drawn if product_id not in chosen and product_id not in grades}
    return [Example(query_id=query_id, product_id=product_id, grade=grade) for product_id, grade in chosen.items()]


def _sample(product_ids: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    size = min(count, len(product_ids))
    return [product_ids[i] for i in rng.choice(len(product_ids), size=size, replace=False)] if size else []
