"""The canary compares what is answered with what was stored: within tolerance, and no further."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexing.errors import ArtifactCorrupt, FingerprintMismatch
from indexing.exact import ExactIndex
from indexing.vectors import ArrayVectors
from retrieval.config import LexicalConfig, RrfConfig, TextConfig, ZscoreConfig
from retrieval.lexical import LexicalIndex
from retrieval.products import ProductTable
from retrieval.records import Product
from retrieval.retriever import Retriever
from retrieval.text import TextTemplate
from shortlist.canary import (
    Canary,
    Found,
    check_first_stage,
    check_reranker,
    check_tower,
    read_canary,
    record_canary,
    write_canary,
)

QUERIES = ("red mouse", "blue sofa", "steel lamp")
TEMPLATE = TextTemplate(TextConfig(fields=["title"]))


def vectors_of(count: int, *, seed: int = 3) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def products(tmp_path: Path) -> ProductTable:
    return table(tmp_path / "products.parquet", price=1.5)


def table(path: Path, *, price: float) -> ProductTable:
    words = ("red", "blue", "steel", "mouse", "sofa", "lamp")
    found = [
        Product(product_id=f"p{n:02d}", title=f"{words[n % 6]} {words[n // 6 % 6]} {n}", price=price) for n in range(36)
    ]
    ProductTable.write(path, [found])
    return ProductTable.open(path)


def retriever_of(products: ProductTable, vectors: np.ndarray, *, fusion: object = None) -> Retriever:
    texts = [TEMPLATE.render(products.get(row)) for row in range(products.count)]
    return Retriever(
        encoder=None,
        dense=ExactIndex(ArrayVectors(vectors), tie_rank=products.tie_rank),
        lexical=LexicalIndex.build(texts, LexicalConfig()),
        products=products,
        fusion=fusion or RrfConfig(),
    )


def score(query: str, texts: Sequence[str]) -> np.ndarray:
    return np.array([len(set(query.split()) & set(text.split())) + len(text) / 100 for text in texts], dtype=np.float32)


@pytest.fixture
def canary(products: ProductTable) -> Canary:
    retriever = retriever_of(products, vectors_of(36))
    return record_canary(QUERIES, vectors_of(3, seed=5), retriever, products, template=TEMPLATE, score=score)


def test_what_is_written_is_read_back_to_the_bit(canary: Canary, tmp_path: Path):
    write_canary(tmp_path / "canary.json", canary)
    read = read_canary(tmp_path / "canary.json")
    assert (read.queries, read.products, read.pairs) == (canary.queries, canary.products, canary.pairs)
    np.testing.assert_array_equal(read.vectors, canary.vectors)
    for name, searched in canary.searches.items():
        for before, after in zip(searched, read.searches[name], strict=True):
            assert before.product_ids == after.product_ids
            np.testing.assert_array_equal(before.scores, after.scores)


def test_the_version_that_was_asked_gives_its_answers_again(canary: Canary, products: ProductTable):
    retriever = retriever_of(products, vectors_of(36))
    assert check_first_stage(canary, retriever, products, overlap=1.0) == 9
    assert check_reranker(canary, score, products, TEMPLATE, spread=0.0) == 0.0
    assert check_tower(canary, lambda texts: canary.vectors, cosine=0.9999) == pytest.approx(1.0)


def test_moved_vectors_are_refused_with_query_product_and_both_scores(canary: Canary, products: ProductTable):
    moved = vectors_of(36)
    moved[int(canary.searches["dense"][1].product_ids[0][1:])] *= 0.9999
    message = (
        r"search for 'blue sofa' \(dense\) is not answered as when .*: product 'p\d\d' scored 0\.\d+ then and 0\.\d+"
    )
    with pytest.raises(ArtifactCorrupt, match=message):
        check_first_stage(canary, retriever_of(products, moved), products, overlap=1.0)


def test_a_difference_of_rounding_is_none(canary: Canary, products: ProductTable):
    retriever = retriever_of(products, vectors_of(36) * np.float32(1 + 3e-7))
    check_first_stage(canary, retriever, products, overlap=1.0)


def test_another_fusion_is_refused(canary: Canary, products: ProductTable):
    with pytest.raises(ArtifactCorrupt, match=r"\(fused\) is not answered"):
        check_first_stage(canary, retriever_of(products, vectors_of(36), fusion=ZscoreConfig()), products, overlap=1.0)


def test_a_changed_price_is_refused_with_the_product_named(canary: Canary, tmp_path: Path):
    products = table(tmp_path / "other.parquet", price=1.25)
    with pytest.raises(ArtifactCorrupt, match=r"product 'p\d\d' is not what it was"):
        check_first_stage(canary, retriever_of(products, vectors_of(36)), products, overlap=1.0)


class Forgetful(ExactIndex):
    """An index that never finds row 7 and some others, as another processor may make of a graph."""

    def search(self, queries, k, *, eligible=None):
        allowed = np.ones(self.count, dtype=bool) if eligible is None else eligible.copy()
        allowed[list(self.lost)] = False
        return super().search(queries, k, eligible=allowed)


@pytest.mark.parametrize(("lost", "refused"), [(1, False), (8, True)])
def test_an_approximate_index_may_lose_one_product_in_ten_and_an_exact_one_none(
    canary: Canary, products: ProductTable, lost: int, refused: bool
):
    dense = Forgetful(ArrayVectors(vectors_of(36)), tie_rank=products.tie_rank)
    dense.lost = [int(product_id[1:]) for product_id in canary.searches["dense"][0].product_ids[:lost]]
    retriever = retriever_of(products, vectors_of(36))
    retriever._dense = dense
    with pytest.raises(ArtifactCorrupt, match=r"products of the stored searches \(dense\) are others .*such as 'red"):
        check_first_stage(canary, retriever, products, overlap=1.0)
    if refused:
        with pytest.raises(ArtifactCorrupt, match="products of the stored searches"):
            check_first_stage(canary, retriever, products, overlap=0.9)
    else:
        check_first_stage(canary, retriever, products, overlap=0.9)


def test_products_that_tie_where_the_list_was_cut_may_change_places(canary: Canary, products: ProductTable):
    """Ten of eleven equal products are stored; which ten is the tie rank's choice, and rounding may take it."""
    first = canary.searches["dense"][0]
    assert len(first.product_ids) == 10
    tied = Found((*first.product_ids[:9], "p99"), np.append(first.scores[:9], first.scores[9]).astype(np.float32))
    searches = dict(canary.searches) | {"dense": (tied, *canary.searches["dense"][1:])}
    check_first_stage(replace(canary, searches=searches), retriever_of(products, vectors_of(36)), products, overlap=1.0)


def test_a_score_that_moved_beyond_the_spread_is_refused_in_its_unit(canary: Canary, products: ProductTable):
    deviation = float(np.std([pair.score for pair in canary.pairs]))

    def off(query: str, texts: Sequence[str]) -> np.ndarray:
        return score(query, texts) + np.float32(0.3 * deviation)

    assert check_reranker(canary, off, products, TEMPLATE, spread=0.31) == pytest.approx(0.3, abs=1e-3)
    with pytest.raises(FingerprintMismatch, match=r"0\.30 standard deviations apart, at most 0\.25 expected"):
        check_reranker(canary, off, products, TEMPLATE, spread=0.25)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(canary: Canary, products: ProductTable, value: float):
    with pytest.raises(FingerprintMismatch, match="does not reproduce"):
        check_reranker(
            canary, lambda query, texts: np.full(len(texts), value, np.float32), products, TEMPLATE, spread=9.0
        )


def test_a_bundle_without_pairs_proves_no_reranker(canary: Canary, products: ProductTable):
    with pytest.raises(FingerprintMismatch, match="stores no scored pairs"):
        check_reranker(replace(canary, pairs=()), score, products, TEMPLATE, spread=1.0)


def test_a_tower_that_gives_nan_is_refused(canary: Canary):
    with pytest.raises(FingerprintMismatch, match="smallest cosine nan"):
        check_tower(canary, lambda texts: np.full_like(canary.vectors, np.nan), cosine=0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"queries": []},
        {"queries": [7, 8, 9]},
        {"vectors": [[1.0], [2.0]]},
        {"vectors": "x"},
        {"searches": {}},
        {"searches": {"dense": [], "lexical": [], "fused": []}},
        {"searches": {"dense": [{"product_ids": ["a"], "scores": []}] * 3, "lexical": [], "fused": []}},
        {"products": []},
        {"pairs": [{"query": "a"}]},
        {"_target_": "os.system"},
    ],
    ids=str,
)
def test_a_file_that_holds_something_else_is_corrupt(canary: Canary, tmp_path: Path, change: dict):
    write_canary(tmp_path / "canary.json", canary)
    content = json.loads((tmp_path / "canary.json").read_bytes())
    (tmp_path / "other.json").write_text(json.dumps(content | change))
    with pytest.raises(ArtifactCorrupt, match=r"other\.json"):
        read_canary(tmp_path / "other.json")
