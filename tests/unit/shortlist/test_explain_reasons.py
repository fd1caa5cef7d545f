"""Why a product stands where it stands: shares of words, nearest text, twins, and what costs time."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from retrieval.config import RrfConfig
from retrieval.records import Product
from shortlist import CacheConfig, SearchEngine
from shortlist.explain import Twin
from shortlist.generation import CallableTower

PRODUCTS = [
    Product("a", "red mouse", description="For small hands. A cable of two metres"),
    Product("b", "red mouse", description="For small hands. A cable of two metres", price=3.0),
    Product("c", "blue mouse"),
    Product("d", "red lamp"),
    Product("e", "red mouse", description="For small hands. A cable of two metres", brand="Acme"),
    Product("f", "kettle"),
]


def engine_over(generation):
    """An engine that opens to a generation which no bundle holds."""
    return SearchEngine(SimpleNamespace(load=lambda: generation, cache=CacheConfig()))


@pytest.fixture(scope="module")
def shop(make_generation, word_reranker):
    return make_generation(PRODUCTS, reranker=word_reranker({"mouse": 2.0, "cable": -1.0}))


def explain(generation, query, product_id, **options):
    return engine_over(generation).explain(query, product_id, **options)


def test_the_words_shares_sum_to_the_lexical_score_and_name_what_is_missing(shop):
    found = explain(shop, "red mouse pad lamp", "a")
    assert [(share.word, share.in_product, share.products) for share in found.words] == [
        ("mouse", 1, 4),
        ("red", 1, 4),
        ("lamp", 0, 1),
        ("pad", 0, 0),
    ]
    assert sum(share.score for share in found.words) == pytest.approx(found.stage("lexical").score)


def test_the_nearest_passage_comes_first_and_the_whole_text_has_its_cosine(shop):
    found = explain(shop, "for small hands.", "a")
    assert (found.passages[0].field, found.passages[0].text) == ("description", "For small hands.")
    assert found.passages[0].cosine == pytest.approx(1, abs=1e-5)
    assert found.cosine == found.stage("dense").score < found.passages[0].cosine


def test_products_of_the_same_text_are_named_with_their_ranks(shop):
    ranks = {hit.product_id: hit.rank for hit in engine_over(shop).search("red mouse").hits}
    assert explain(shop, "red mouse", "b").twins == (Twin("a", ranks["a"]), Twin("e", ranks["e"]))
    assert explain(shop, "red mouse", "c").twins == ()


def test_of_twins_the_first_by_id_takes_the_place_and_the_others_say_who_did(shop):
    found = explain(shop, "red mouse for small hands and a cable", "e", k=2, rerank=False)
    assert found.rank == 3
    assert found.twins == (Twin("a", 1), Twin("b", 2))
    scores = [explain(shop, "red mouse", twin).stage("dense").score for twin in ("a", "b", "e")]
    assert scores[0] == scores[1] == scores[2]


def test_a_candidate_of_the_reranker_gets_its_words_with_signs(shop):
    found = explain(shop, "red mouse", "a")
    assert found.attribution.score == found.stage("rerank").score == 1
    effects = {(word.word, word.side): word.effect for word in found.attribution.words}
    assert (effects["mouse", "product"], effects["cable", "product"]) == (2, -1)
    assert found.timings_ms["attribution"] == found.attribution.elapsed_ms


def test_without_reranking_no_pair_is_scored(shop):
    assert explain(shop, "red mouse", "a", rerank=False).attribution is None


def test_a_tower_that_encodes_queries_alone_leaves_out_the_nearest_text(shop):
    function = replace(shop, tower=CallableTower(shop.tower.encode_queries, dim=16))
    found = explain(function, "red mouse", "a")
    assert found.passages == ()
    assert found.cosine is not None


def test_a_source_that_is_not_asked_gives_no_reason(make_generation):
    assert explain(make_generation(PRODUCTS, fusion=RrfConfig(lexical=0.0)), "red mouse", "a").words == ()
    silent = explain(make_generation(PRODUCTS, fusion=RrfConfig(dense=0.0)), "red mouse", "a")
    assert (silent.cosine, silent.passages, silent.twins) == (None, (), ())


def test_a_product_that_the_filter_stopped_needs_no_further_reason(shop):
    found = explain(shop, "red mouse", "a", filters=[("price", ">", 1)])
    assert (found.words, found.passages, found.attribution, found.twins) == ((), (), None, ())
