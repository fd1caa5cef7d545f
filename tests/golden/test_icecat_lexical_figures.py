"""The figures of the lexical index on Icecat, to the fourth place: they move only with `words` or the arithmetic."""

from functools import partial

import numpy as np
import pytest

from retrieval.catalog import open_catalog, read_judgments_csv
from retrieval.config import IcecatCatalog, LexicalConfig, TextConfig
from retrieval.lexical import LexicalIndex
from retrieval.metrics import has_gain, mean_over, ndcg, recall
from retrieval.text import TextTemplate

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def icecat(shared_data):
    return open_catalog(IcecatCatalog(name="icecat", attributes=False), shared_data / "icecat")


@pytest.fixture(scope="module")
def run(icecat):
    """Query id -> 1,000 products with their scores, ties by product_id."""
    products = [product for batch in icecat.products() for product in batch.products]
    template = TextTemplate(TextConfig())
    index = LexicalIndex.build((template.render(product) for product in products), LexicalConfig())
    ids = [product.product_id for product in products]
    tie_rank = np.argsort(np.argsort(np.array(ids)))
    found = {query.query_id: index.search(query.text, 1000, tie_rank=tie_rank) for query in icecat.queries()}
    return {
        query_id: [(ids[row], float(score)) for row, score in zip(*ranked, strict=True)]
        for query_id, ranked in found.items()
    }


@pytest.mark.parametrize(
    ("judgments", "judged", "expected"),
    [("judgments.csv", 88, (0.6648, 0.7408)), ("judgments_human.csv", 79, (0.7649, 0.8513))],
)
def test_bm25_on_icecat(icecat, run, shared_data, judgments, judged, expected):
    _, graded = read_judgments_csv(shared_data / "icecat" / judgments, icecat.queries())
    qrels = {}
    for judgment in graded:
        qrels.setdefault(judgment.query_id, {})[judgment.product_id] = judgment.grade
    qrels = {query_id: grades for query_id, grades in qrels.items() if has_gain(grades)}
    found = {query_id: run[query_id] for query_id in qrels}
    measures = (partial(ndcg, k=10), partial(recall, k=100, min_grade=2))
    assert len(qrels) == judged
    assert tuple(round(mean_over(qrels, found, measure), 4) for measure in measures) == expected
