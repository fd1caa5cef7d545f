"""An explanation agrees with the answer it explains, for every product, whatever is asked of whatever shop."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexing.config import HnswConfig, IvfSq8Config
from indexing.faiss_index import build_index
from retrieval.config import ConvexConfig, RrfConfig, ZscoreConfig
from retrieval.records import Product
from shortlist import CacheConfig, SearchEngine, Verdict
from shortlist.explain import Outcome

WORDS = ("red", "blue", "mouse", "lamp", "sofa", "pad", "small")
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
SHOPS = st.lists(st.tuples(TEXTS, st.sampled_from([None, 1.0, 2.0])), min_size=1, max_size=14)
FUSIONS = st.builds(
    lambda kind, weights, depth: kind(dense=weights[0], lexical=weights[1], source_depth=depth),
    st.sampled_from([RrfConfig, ZscoreConfig, ConvexConfig]),
    st.sampled_from([(1.0, 1.0), (1.0, 0.5), (0.0, 1.0), (1.0, 0.0)]),
    st.integers(1, 6),
)
INDEXES = {
    "exact": lambda exact: exact,
    "hnsw": lambda exact: build_index(HnswConfig(links=2, ef_search=1), exact._vectors, tie_rank=exact._tie_rank),
    "ivf": lambda exact: build_index(
        IvfSq8Config(lists=min(4, exact.count), probes=1, refine_factor=1.0), exact._vectors, tie_rank=exact._tie_rank
    ),
}
FILTERS = st.sampled_from([None, [("price", "<", 2)], [[("price", ">", 1)], [("title", "==", "red")]]])
WORTH = st.dictionaries(st.sampled_from(WORDS), st.sampled_from([-2.0, 1.0, 3.0]))


def engine_over(generation):
    """An engine that opens to a generation which no bundle holds."""
    return SearchEngine(SimpleNamespace(load=lambda: generation, cache=CacheConfig()))


@given(st.data())
def test_ranks_and_verdicts_are_those_of_the_answer(make_generation, word_reranker, data):
    shop = [
        Product(f"p{number}", title, price=price)
        for number, (title, price) in enumerate(data.draw(SHOPS, label="shop"))
    ]
    weight = data.draw(st.sampled_from([None, 0.0, 0.5, 1.0]), label="weight")
    engine = engine_over(
        make_generation(
            shop,
            index=INDEXES[data.draw(st.sampled_from(sorted(INDEXES)), label="index")],
            fusion=data.draw(FUSIONS, label="fusion"),
            reranker=None if weight is None else word_reranker(data.draw(WORTH, label="worth"), weight=weight),
        )
    )
    query = data.draw(TEXTS | st.just("unheard of"), label="query")
    k = data.draw(st.integers(1, 5), label="k")
    options = {
        "k": k,
        "depth": data.draw(st.none() | st.integers(k, 8), label="depth"),
        "filters": data.draw(FILTERS, label="filters"),
        "rerank": data.draw(st.booleans(), label="rerank"),
    }
    answer = {hit.product_id: hit for hit in engine.search(query, **options).hits}
    explained = [engine.explain(query, product.product_id, **options) for product in shop]
    for source in ("dense", "lexical"):
        _ranks_follow_scores_then_ids(explained, source)
    for product, found in zip(shop, explained, strict=True):
        assert (found.verdict is Verdict.shown) == (product.product_id in answer)
        if product.product_id in answer:
            hit = answer[product.product_id]
            assert found.rank == hit.rank
            assert found.stage("answer").score == hit.score
            for stage in found.stages:
                if stage.outcome is Outcome.passed and stage.name in hit.stages and len(hit.stages) > 2:
                    assert np.float32(stage.score) == np.float32(hit.stages[stage.name])
        if found.verdict is not Verdict.filtered:
            assert (found.stage("fusion").outcome is Outcome.passed) == (found.rank is not None)
        if product.product_id not in answer:
            _a_missing_product_is_lost_where_it_says(found, k)


def _ranks_follow_scores_then_ids(explained, source):
    """The exact ranks of all products in a source are those of one list, equal scores by product_id."""
    ranked = [(found.stage(source), found.product_id) for found in explained if found.stage(source).rank is not None]
    ranked.sort(key=lambda pair: (-pair[0].score, pair[1]))
    assert [stage.rank for stage, _ in ranked] == list(range(1, len(ranked) + 1))
    assert {stage.of for stage, _ in ranked} <= {len(ranked)}


def _a_missing_product_is_lost_where_it_says(found, k):
    """The stage of the verdict lost it, and no stage before it did."""
    fusion, answer = found.stage("fusion"), found.stage("answer")
    match found.verdict:
        case Verdict.filtered:
            assert all(not all(part.holds for part in group) for group in found.conditions)
        case Verdict.not_recalled:
            assert {found.stage(name).outcome for name in ("dense", "lexical")} <= {Outcome.lost, Outcome.skipped}
        case Verdict.index_missed:
            assert found.stage("dense").outcome is Outcome.missed
        case Verdict.lost_in_fusion:
            assert fusion.rank > fusion.places
        case Verdict.reranked_down:
            assert fusion.rank <= k < answer.rank
        case _:
            assert found.verdict is Verdict.below_k
            assert min(fusion.rank, answer.rank) > k
