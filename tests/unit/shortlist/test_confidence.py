"""What is learned of how far answers can be trusted, and what the engine then says of its answers."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rerank.answer import answer_features
from rerank.confidence import Confidence
from rerank.config import ConfidenceConfig
from rerank.final import Convex
from retrieval.records import Product, Query
from shortlist import CacheConfig, SearchEngine, Verdict
from shortlist.cli.texts import hits_text
from shortlist.compose import load_config
from shortlist.config import EvaluateConfig, System
from shortlist.jobs.confidence import Remembering, learn
from shortlist.jobs.evaluate import run_system

COLOURS = ("red", "blue", "green", "white", "black", "grey", "pink", "brown")
KINDS = ("mouse", "lamp", "sofa", "kettle", "chair", "table", "phone", "clock")
SHOP = [Product(f"{kind}-{colour}", f"{colour} {kind}") for kind in KINDS for colour in COLOURS]
QUERIES = [Query(f"q-{kind}-{colour}", f"{colour} {kind}") for kind in KINDS for colour in COLOURS[:4]]
QRELS = {
    f"q-{kind}-{colour}": {f"{kind}-{other}": 3 if other == colour else 1 for other in COLOURS}
    for kind in KINDS
    for colour in COLOURS[:4]
}
CONFIG = ConfidenceConfig(good=2, precision=0.6, share=0.3)


class SharedWords:
    """Scores a pair by the share of the query's words that the text holds, and counts what it is asked."""

    def __init__(self, weight=0.5):
        self.fusion, self.pairs = Convex(weight), []

    def score(self, query, texts):
        self.pairs += [(query, text) for text in texts]
        asked = set(query.split())
        held = [len(asked & set(text.replace(".", "").split())) / len(asked) for text in texts]
        return np.array(held, dtype=np.float32) * 10 - 5


def engine_over(generation):
    return SearchEngine(SimpleNamespace(load=lambda: generation, cache=CacheConfig()))


@pytest.fixture(scope="module")
def shop(make_generation):
    return make_generation(SHOP, reranker=SharedWords())


@pytest.fixture(scope="module")
def learned(shop):
    return learn(CONFIG, shop, QUERIES, QRELS, depth=20, complete=True)


@pytest.fixture(scope="module")
def sure(shop, learned):
    return replace(shop, confidence=learned[0])


def test_every_query_is_asked_with_its_products_and_without_the_good_and_without_all_graded_ones(learned):
    _, report = learned
    assert (report.queries, report.missing) == (len(QUERIES), ())
    for evidence in (report.reranked, report.first_stage):
        assert (evidence.answers, evidence.misses) == (len(QUERIES), 2 * len(QUERIES))
    assert report.pairs.pairs == 20 * len(QUERIES)
    assert report.pairs.rate == pytest.approx(1 / 20)
    assert report.pairs.skill > 0.9
    assert report.reranked.auc > 0.99
    assert report.reranked.withheld == 0


def test_what_is_taken_out_of_the_shop_is_all_that_is_good_and_then_all_that_is_graded(shop, monkeypatch):
    shown = []

    def spy(query, hits, brands):
        shown.append((query, [hit.text for hit in hits]))
        return answer_features(query, hits, brands)

    monkeypatch.setattr("shortlist.jobs.confidence.answer_features", spy)
    query = QUERIES[0]  # red mouse; its own grade is the least that is good, and a colour beside it has none
    grades = {f"mouse-{colour}": 1 for colour in COLOURS[1:7]} | {"mouse-red": 2}
    learn(CONFIG, shop, [query], {query.query_id: grades}, depth=20, complete=True)
    mice = [{text.split()[0] for text in texts if "mouse" in text} for _, texts in shown[::2]]
    graded = set(COLOURS[:7])
    assert len(mice) == 3
    assert "red" in mice[0]
    assert "red" not in mice[1]
    assert mice[1] & graded
    assert not mice[2] & graded


def test_where_products_have_categories_those_of_the_good_ones_are_taken_out_too(make_generation, monkeypatch):
    shown = []

    def spy(query, hits, brands):
        shown.append([hit.text for hit in hits])
        return answer_features(query, hits, brands)

    monkeypatch.setattr("shortlist.jobs.confidence.answer_features", spy)
    kinds = [replace(product, category="" if "sofa" in product.title else product.title.split()[1]) for product in SHOP]
    query = QUERIES[0]  # red mouse; the other mice have no grade
    shop = make_generation(kinds, reranker=SharedWords())
    learn(CONFIG, shop, [query], {query.query_id: {"mouse-red": 3}}, depth=64, complete=True)
    assert len(shown) == 2 * 4
    whole, without_kind = shown[0], shown[-1]
    assert any("mouse" in text for text in whole)
    assert not any("mouse" in text for text in without_kind)
    assert any("sofa" in text for texts in shown for text in texts)  # what has no category stays


def test_an_answer_with_a_good_match_says_so_and_one_without_abstains(sure):
    engine = engine_over(sure)
    good, bad = engine.search("pink clock", k=5), engine.search("pink violin", k=5)
    assert (good.abstained, bad.abstained) == (False, True)
    assert good.match_probability > 0.8 > 0.2 > bad.match_probability
    assert len(bad.hits) == 5  # the nearest are there for who wants them
    assert good.hits[0].product_id == "clock-pink"
    assert good.hits[0].probability > 0.5 > good.hits[1].probability > 0
    assert "check" in good.timings_ms


def test_a_batch_says_of_each_answer_what_a_single_search_does(sure):
    engine = engine_over(sure)
    texts = ["pink clock", "pink violin", "grey sofa"]
    assert [found.abstained for found in engine.search_many(texts)] == [False, True, False]
    assert [found.match_probability for found in engine.search_many(texts)] == [
        pytest.approx(engine.search(text).match_probability, abs=1e-4) for text in texts
    ]


def test_an_answer_that_was_not_reranked_is_judged_by_the_first_stage_alone_and_its_hits_have_no_probability(sure):
    engine = engine_over(sure)
    for options in ({"rerank": False}, {"deadline_ms": 0.0}):
        found = engine.search("pink clock", **options)
        assert {hit.probability for hit in found.hits} == {None}
        features_alone = found.match_probability
        assert features_alone is not None
        assert features_alone != engine.search("pink clock").match_probability
    assert engine.similar("clock-pink").match_probability is None


def test_nothing_learned_changes_nothing(shop):
    found = engine_over(shop).search("pink violin")
    assert (found.abstained, found.match_probability) == (False, None)
    assert {hit.probability for hit in found.hits} == {None}
    assert "check" not in found.timings_ms


def test_confidence_reorders_nothing(shop, sure):
    for query in ("pink clock", "pink violin", "blue"):
        plain, judged = (engine_over(generation).search(query, k=30) for generation in (shop, sure))
        assert [(hit.product_id, hit.score) for hit in plain.hits] == [
            (hit.product_id, hit.score) for hit in judged.hits
        ]


def test_a_filter_that_leaves_nothing_is_no_good_match(sure):
    found = engine_over(sure).search("pink clock", filters=[("price", "<", 1.0)])
    assert (found.hits, found.abstained, found.match_probability) == ((), True, 0.0)


def test_a_hit_of_an_answer_without_a_good_match_is_explained_as_abstained_and_others_by_what_lost_them(sure):
    engine = engine_over(sure)
    hit = engine.search("pink violin", k=3).hits[0].product_id
    found = engine.explain("pink violin", hit, k=3)
    assert (found.verdict, found.rank) == (Verdict.abstained, 1)
    check = engine.search("pink violin", k=3)
    assert found.headline.startswith("abstained: rank 1 of ")
    assert f"no good match: probability {check.match_probability:.3f}, below" in found.headline
    assert engine.explain("pink violin", "sofa-grey", k=3).verdict is not Verdict.abstained
    assert engine.explain("pink clock", "clock-pink", k=3).verdict is Verdict.shown


def test_the_shell_says_that_there_is_no_good_match_and_how_good_each_hit_is(sure):
    good, bad = (hits_text(engine_over(sure).search(query, k=2)) for query in ("pink clock", "pink violin"))
    assert "no good match" not in good
    assert "1. pink clock  good match 100%" in good
    assert "no good match (probability" in bad.splitlines()[1]


def test_where_grades_are_not_complete_what_nobody_judged_counts_neither_way(shop):
    some = {query_id: dict(list(grades.items())[:4]) for query_id, grades in QRELS.items()}
    some = {query_id: {**grades, query_id[2:]: 3} for query_id, grades in some.items()}
    _, whole = learn(CONFIG, shop, QUERIES, some, depth=20, complete=True)
    _, judged = learn(CONFIG, shop, QUERIES, some, depth=20, complete=False)
    assert whole.pairs.pairs == 20 * len(QUERIES)
    assert judged.pairs.pairs == 4 * len(QUERIES)
    lost = {query_id: {"mouse-red": 3} for query_id in QRELS if "clock" in query_id}
    _, silent = learn(CONFIG, shop, QUERIES, QRELS | lost, depth=20, complete=False)
    assert silent.first_stage.answers == len(QUERIES) - len(lost)  # what was judged good is nowhere: no answer to learn
    assert silent.first_stage.misses == 2 * len(QUERIES)


def test_a_cross_encoder_of_no_weight_is_never_asked_and_the_first_stage_is_learned_all_the_same(make_generation):
    generation = make_generation(SHOP, reranker=SharedWords(weight=0.0))
    confidence, report = learn(CONFIG, generation, QUERIES, QRELS, depth=20, complete=True)
    assert generation.reranker.pairs == []
    assert (confidence.calibration, confidence.abstention.reranked, report.pairs) == (None, None, None)
    assert report.first_stage.auc > 0.9


def test_too_few_held_out_queries_leave_a_part_out_and_say_why(shop):
    confidence, report = learn(CONFIG, shop, QUERIES[:3], QRELS, depth=20, complete=True)
    assert confidence == Confidence()
    assert "a calibration takes 20 judged held-out pairs, 5 of them good" in report.missing[0]
    assert "takes 20 answers with a good match and as many without; got 3 and 6" in report.missing[1]
    few = learn(replace(CONFIG, queries=24), shop, QUERIES, QRELS, depth=20, complete=True)[1]
    assert (few.queries, few.reranked.answers) == (24, 24)


def test_no_pair_is_scored_twice_for_a_query(make_generation):
    reranker = SharedWords()
    generation = make_generation(SHOP, reranker=reranker)
    learn(CONFIG, generation, QUERIES, QRELS, depth=20, complete=True)
    assert len(set(reranker.pairs)) == len(reranker.pairs)
    remembering = Remembering(SharedWords())
    assert remembering.score("a b", ["a", "b c", "a"]).tolist() == [0.0, 0.0, 0.0]
    assert remembering.score("a", ["a", "b c"]).tolist() == [5.0, -5.0]


def test_an_evaluation_holds_the_probabilities_of_the_first_hits_against_what_came_true(shop, sure):
    config = load_config(EvaluateConfig, ["catalog=parquet", "k=3", "depth=20", "run_depth=100"])
    plain, judged = (
        run_system(engine_over(generation), System.hybrid_rerank, QUERIES, config) for generation in (shop, sure)
    )
    assert (plain.probability_of, dict(plain.probabilities)) == (None, {})
    assert judged.run == plain.run
    assert judged.probability_of == 2
    assert {len(of) for of in judged.probabilities.values()} == {3}
    hits = engine_over(sure).search(QUERIES[0].text, k=3, depth=20).hits
    assert judged.probabilities[QUERIES[0].query_id] == {hit.product_id: hit.probability for hit in hits}
    first = run_system(engine_over(sure), System.hybrid, QUERIES, config)
    assert (first.probability_of, dict(first.probabilities)) == (None, {})
