"""What a faster arithmetic costs in quality: the same rankings made twice, with it and in fp32, over whole shops."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexing.exact import ExactIndex
from indexing.types import FloatMatrix
from indexing.vectors import ArrayVectors
from retrieval.catalog import open_catalog
from retrieval.encoder import DualEncoder
from retrieval.metrics import ndcg
from retrieval.text import TextTemplate
from shortlist.compose import load_config
from shortlist.config import BuildConfig
from shortlist.evaluation.paired import bootstrap_interval
from tools.bench.speed.records import Options, Quality

K = 10
OVERLAP = 0.97
MARGIN = 0.01
"""What a speed-up has to hold: the overlap of the top ten, and the interval of the nDCG@10 difference."""

SETS = {"Icecat": ["catalog=icecat"], "Home Depot dev": ["catalog=homedepot", "catalog.split=dev"]}


@dataclass(frozen=True, slots=True)
class Shop:
    """A catalogue with judged queries.

    Attributes:
        name: For people.
        product_ids: Every product.
        texts: Their texts, in the same order.
        queries: query_id -> text, of those with a grade above 0.
        grades: query_id -> product_id -> grade.
    """

    name: str
    product_ids: tuple[str, ...]
    texts: tuple[str, ...]
    queries: Mapping[str, str]
    grades: Mapping[str, Mapping[str, int]]


def shops(options: Options, *, products: int = 0) -> list[Shop]:
    """Return the data sets that are there; of each the first ``products`` alone, unless that is 0."""
    found = []
    for name, overrides in SETS.items():
        config = load_config(BuildConfig, overrides)
        source = options.data / config.catalog.name
        if not source.is_dir():
            continue
        catalog, template = open_catalog(config.catalog, source), TextTemplate(config.text)
        rows = [(each.product_id, template.render(each)) for batch in catalog.products() for each in batch.products]
        rows = rows[: products or len(rows)]
        grades: dict[str, dict[str, int]] = {}
        for judgment in catalog.judgments():
            grades.setdefault(judgment.query_id, {})[judgment.product_id] = judgment.grade
        judged = {query_id for query_id, given in grades.items() if max(given.values()) > 0}
        queries = {query.query_id: query.text for query in catalog.queries() if query.query_id in judged}
        ids, texts = zip(*rows, strict=True)
        found.append(Shop(name, ids, texts, queries, grades))
    return found


def encoder_parity(
    encoders: Mapping[str, DualEncoder], reference: DualEncoder, shop: Shop
) -> dict[str, tuple[Quality, ...]]:
    """Return for each encoder how its rankings over a shop compare with the reference's; both encode everything."""
    expected = _rankings(reference, shop)
    return {name: compared(shop, expected, _rankings(encoder, shop)) for name, encoder in encoders.items()}


def compared(
    shop: Shop, expected: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[str]]
) -> tuple[Quality, ...]:
    """Return overlap of the top ten and difference of nDCG@10 of two rankings of the same queries."""
    shared = [len(set(expected[each][:K]) & set(found[each][:K])) / len(expected[each][:K]) for each in shop.queries]
    gained = np.array(
        [
            ndcg(found[each], shop.grades[each], k=K) - ndcg(expected[each], shop.grades[each], k=K)
            for each in shop.queries
        ]
    )
    interval = bootstrap_interval(gained)
    return (
        Quality(name=f"top-10 overlap with fp32, {shop.name}", value=float(np.mean(shared)), at_least=OVERLAP),
        Quality(
            name=f"nDCG@10 difference to fp32, {shop.name}",
            value=float(gained.mean()),
            low=interval.low,
            high=interval.high,
            within=MARGIN,
        ),
    )


def _rankings(encoder: DualEncoder, shop: Shop) -> dict[str, list[str]]:
    """Return the exact top ten of every query."""
    return rankings(encoder.encode_products(shop.texts), encoder.encode_queries, shop)


def rankings(
    products: FloatMatrix, encode_queries: Callable[[Sequence[str]], FloatMatrix], shop: Shop, *, k: int = K
) -> dict[str, list[str]]:
    """Return the exact top ``k`` of every query, as product ids."""
    rows = ExactIndex(ArrayVectors(products)).search(encode_queries(list(shop.queries.values())), k).rows
    return {
        query_id: [shop.product_ids[row] for row in found] for query_id, found in zip(shop.queries, rows, strict=True)
    }
