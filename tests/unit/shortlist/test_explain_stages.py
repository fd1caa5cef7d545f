"""One fault planted per stage, each named; and what would have been without it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from indexing.config import FlatConfig, IvfSq8Config
from indexing.errors import InvalidQuery
from indexing.faiss_index import build_index
from indexing.types import Neighbors
from rerank.cost import BatchCost
from retrieval.config import RrfConfig
from retrieval.records import Product
from shortlist import CacheConfig, SearchEngine, Verdict
from shortlist.explain import Outcome

COLOURS = ("red", "blue", "green", "white", "black", "grey", "pink", "brown")
KINDS = ("mouse", "lamp", "sofa", "kettle", "chair", "table", "phone", "clock")
SHOP = [
    Product(f"{kind}-{colour}", f"{colour} {kind}", price=10.0 * place, attributes={"colour": colour})
    for place, kind in enumerate(KINDS)
    for colour in COLOURS
]


def engine_over(generation):
    """An engine that opens to a generation which no bundle holds."""
    return SearchEngine(SimpleNamespace(load=lambda: generation, cache=CacheConfig()))


class Blind:
    """An exact index that never returns some rows: an approximate one at its worst."""

    def __init__(self, exact, hidden):
        self.exact, self.hidden = exact, hidden
        self.count, self.dim = exact.count, exact.dim

    def search(self, queries, k, *, eligible=None):
        found = self.exact.search(queries, k + len(self.hidden), eligible=eligible)
        kept = [np.flatnonzero(~np.isin(rows, self.hidden))[:k] for rows in found.rows]
        return Neighbors(
            np.stack([scores[places] for scores, places in zip(found.scores, kept, strict=True)]),
            np.stack([rows[places] for rows, places in zip(found.rows, kept, strict=True)]),
        )


def row_of(product_id):
    return [product.product_id for product in SHOP].index(product_id)


@pytest.fixture(scope="module")
def shop(make_generation):
    return make_generation(SHOP)


@pytest.fixture(scope="module")
def narrow(make_generation):
    """Sources that return six products each."""
    return make_generation(SHOP, fusion=RrfConfig(source_depth=6))


def explained(generation, query, product_id, **options):
    explanation = engine_over(generation).explain(query, product_id, **options)
    answer = {hit.product_id: hit.rank for hit in engine_over(generation).search(query, **options).hits}
    assert (explanation.verdict is Verdict.shown) == (product_id in answer)
    if product_id in answer:
        assert explanation.rank == answer[product_id]
    return explanation


# --- in the answer ----------------------------------------------------------------------------------------------------


def test_a_hit_is_shown_at_its_rank_with_a_score_for_every_stage(shop):
    found = explained(shop, "red mouse", "mouse-red")
    assert (found.verdict, found.rank, found.otherwise) == (Verdict.shown, 1, None)
    assert found.headline == "shown: rank 1 of 64 (1st after fusion, 1st by meaning, 1st by words)"
    hit = engine_over(shop).search("red mouse").hits[0]
    assert {name: found.stage(name).score for name in ("dense", "lexical", "fusion")} == dict(hit.stages)
    assert found.stage("answer").score == hit.score
    assert found.stage("rerank").outcome is Outcome.skipped
    assert found.product == hit.product


def test_what_a_hit_had_to_beat_is_the_score_of_the_last_one_let_through(narrow):
    found = explained(narrow, "red mouse", "mouse-red", k=3, depth=5)
    answer = engine_over(narrow).search("red mouse", k=5, depth=5).hits
    trace = narrow.retriever.trace("red mouse", depth=5)
    assert found.stage("answer").to_beat == answer[2].score
    assert found.stage("fusion").to_beat == answer[4].score
    assert found.stage("dense").to_beat == trace.lists["dense"][1][-1]
    assert found.stage("lexical").to_beat == trace.lists["lexical"][1][-1]
    assert [found.stage(name).places for name in ("dense", "lexical", "fusion", "answer")] == [6, 6, 5, 3]


def test_where_every_place_is_free_there_is_nothing_to_beat(shop):
    found = explained(shop, "red mouse", "sofa-pink", k=64)
    assert found.verdict is Verdict.shown
    assert {stage.to_beat for stage in found.stages} == {stage.places for stage in found.stages} == {None}


# --- one fault per stage ----------------------------------------------------------------------------------------------


def test_an_id_that_the_catalogue_does_not_hold(shop):
    found = explained(shop, "red mouse", "mouse-reed")
    assert (found.verdict, found.product, found.suggestions) == (Verdict.not_in_catalogue, None, ("mouse-red",))
    assert found.headline == ("not in the catalogue: none of its 64 products has this id; did you mean 'mouse-red'?")
    assert [stage.outcome for stage in found.stages] == [Outcome.lost, *[Outcome.not_reached] * 6]


def test_a_filter_names_the_condition_that_fails_and_the_product_s_value(shop):
    filters = [("attributes.colour", "==", "red"), ("price", ">=", 25.5)]
    found = explained(shop, "red mouse", "mouse-red", filters=filters)
    assert found.verdict is Verdict.filtered
    assert found.headline == "filtered out: price is 0, the filter wants >= 25.5; without the filter it would be 1st"
    assert [(part.column, part.holds) for part in found.conditions[0]] == [
        ("attributes.colour", True),
        ("price", False),
    ]
    assert (found.otherwise.change, found.otherwise.rank) == ("without the filter", 1)


def test_of_alternative_filters_every_failing_one_is_named(shop):
    filters = [[("price", "<", 0)], [("attributes.colour", "in", ["blue", "grey"]), ("brand", "==", "HP")]]
    found = explained(shop, "red mouse", "mouse-red", filters=filters)
    assert found.headline.startswith(
        "filtered out: price is 0, the filter wants < 0 - or else - attributes.colour is 'red', the filter wants in "
        "'blue', 'grey' and brand is unknown, the filter wants == 'HP'; "
    )


def test_beyond_the_reach_of_both_sources(narrow):
    found = explained(narrow, "red mouse", "sofa-pink", k=3, depth=5)
    dense = found.stage("dense")
    exact = narrow.retriever.trace("red mouse", depth=64, sources=["dense"]).fused
    assert found.verdict is Verdict.not_recalled
    assert dense.rank == next(c.rank for c in exact if c.product_id == "sofa-pink")
    assert (dense.outcome, dense.of, dense.places) == (Outcome.lost, 64, 6)
    assert (found.stage("lexical").outcome, found.stage("lexical").rank) == (Outcome.lost, None)
    assert found.headline == (
        f"not recalled: rank {dense.rank} of 64 by meaning (the first 6 go on), no query word in its text"
    )


def test_beyond_the_reach_of_the_words_although_it_holds_one(make_generation):
    words = make_generation(SHOP, fusion=RrfConfig(dense=0.0, source_depth=1))
    found = explained(words, "red", "table-red", k=3, depth=3)
    assert found.verdict is Verdict.not_recalled
    assert found.headline == "not recalled: rank 8 of 8 by words (the first 3 go on)"


def test_an_approximate_index_that_misses_a_near_product_is_blamed(make_generation):
    hidden = row_of("mouse-red")
    blind = make_generation(SHOP, index=lambda exact: Blind(exact, [hidden]), fusion=RrfConfig(lexical=0.0))
    found = explained(blind, "red mouse", "mouse-red", depth=10)
    assert found.verdict is Verdict.index_missed
    assert (found.stage("dense").outcome, found.stage("dense").rank) == (Outcome.missed, 1)
    assert (found.otherwise.change, found.otherwise.rank) == ("with exact search", 1)
    assert found.headline == (
        "missed by the index: rank 1 of 64 by exact search, and the index did not return it; "
        "with exact search it would be 1st"
    )


def test_an_index_that_visits_one_list_of_many_is_blamed_for_what_lies_in_the_others(make_generation):
    lists = IvfSq8Config(lists=16, probes=1, refine_factor=1.0)
    ivf = make_generation(
        SHOP,
        index=lambda exact: build_index(lists, exact._vectors, tie_rank=exact._tie_rank),
        fusion=RrfConfig(lexical=0.0),
    )
    exact = make_generation(SHOP, fusion=RrfConfig(lexical=0.0))
    blamed = 0
    for query in ("red mouse", "pink sofa", "a clock", "green"):
        near = {hit.product_id for hit in engine_over(exact).search(query, k=2, depth=2).hits}
        got = {hit.product_id for hit in engine_over(ivf).search(query, k=2, depth=2).hits}
        verdicts = {p.product_id: explained(ivf, query, p.product_id, k=2, depth=2).verdict for p in SHOP}
        assert {name for name, verdict in verdicts.items() if verdict is Verdict.index_missed} == near - got
        blamed += len(near - got)
    assert blamed > 0


def test_a_miss_that_the_words_make_good_is_told_and_not_blamed(make_generation):
    blind = make_generation(SHOP, index=lambda exact: Blind(exact, [row_of("mouse-red")]))
    found = explained(blind, "red mouse", "mouse-red", k=40)
    assert found.verdict is Verdict.shown
    assert found.stage("dense").outcome is Outcome.missed
    assert "1st by meaning but missed by the index, 1st by words" in found.headline


def test_a_miss_that_costs_a_candidate_its_place_in_the_answer_is_blamed(make_generation):
    blind = make_generation(SHOP, index=lambda exact: Blind(exact, [row_of("mouse-red")]))
    found = explained(blind, "red mouse", "mouse-red", k=3)
    assert (found.verdict, found.otherwise.rank) == (Verdict.index_missed, 1)
    assert found.rank > 3


def test_a_miss_of_what_would_not_be_shown_anyhow_is_not_blamed(make_generation):
    blind = make_generation(SHOP, index=lambda exact: Blind(exact, [row_of("mouse-blue")]))
    found = explained(blind, "red mouse", "mouse-blue", k=1)
    assert found.stage("dense").outcome is Outcome.missed
    assert (found.verdict, found.otherwise) == (Verdict.below_k, None)


def test_lost_in_fusion(narrow):
    trace = narrow.retriever.trace("red mouse", depth=2)
    assert trace.source_depth == 6
    last = trace.fused[-1]
    found = explained(narrow, "red mouse", last.product_id, k=2, depth=2)
    assert found.verdict is Verdict.lost_in_fusion
    assert (found.stage("fusion").rank, found.stage("fusion").of) == (len(trace.fused), len(trace.fused))
    assert found.stage("fusion").to_beat == trace.fused[1].score > found.stage("fusion").score
    assert found.headline.startswith(f"lost in fusion: rank {last.rank} of {last.rank} (")
    assert found.headline.endswith("; the first 2 go on")


def test_an_index_is_blamed_for_what_no_source_returned_even_if_fusion_would_have_lost_it(make_generation, narrow):
    fifth = narrow.retriever.trace("unheard of", depth=1).fused[4]
    fusion = RrfConfig(source_depth=6)
    blind = make_generation(SHOP, index=lambda exact: Blind(exact, [fifth.row]), fusion=fusion)
    found = explained(blind, "unheard of", fifth.product_id, k=1, depth=1)
    assert (found.verdict, found.stage("dense").rank, found.otherwise.rank) == (Verdict.index_missed, 5, None)
    assert found.headline.endswith("; with exact search it would still not come so far")


def test_an_index_is_blamed_for_a_loss_in_fusion_that_exact_search_would_have_prevented(make_generation):
    # By words alone it comes behind what both sources return, and only so many go on.
    blind = make_generation(SHOP, index=lambda exact: Blind(exact, [row_of("mouse-red")]))
    found = explained(blind, "red mouse", "mouse-red", k=1, depth=2)
    assert found.stage("fusion").outcome is Outcome.lost
    assert (found.verdict, found.otherwise.rank) == (Verdict.index_missed, 1)


def test_reranked_down(make_generation, word_reranker):
    harsh = make_generation(SHOP, reranker=word_reranker({"red": -5.0}, weight=1.0))
    found = explained(harsh, "red mouse", "mouse-red", k=3)
    assert found.verdict is Verdict.reranked_down
    assert (found.stage("fusion").rank, found.rank) == (1, found.stage("answer").rank)
    assert found.stage("rerank").score == -5
    assert found.stage("rerank").rank == 64 - 8 + 1  # behind everything that is not red, tied with what is
    assert found.headline == "reranked down: 1st after fusion, 61st after reranking; the first 3 are shown"
    assert explained(harsh, "red mouse", "mouse-red", k=1).verdict is Verdict.reranked_down
    assert explained(harsh, "red mouse", "mouse-red", k=3, rerank=False).verdict is Verdict.shown


def test_below_the_cut(shop):
    found = explained(shop, "red mouse", "mouse-blue", k=1)
    assert (found.verdict, found.otherwise) == (Verdict.below_k, None)
    assert found.headline.startswith(f"below the cut: rank {found.rank} of 64 (")
    assert found.headline.endswith("; only the first is shown")
    assert found.stage("answer").score < found.stage("answer").to_beat


def test_a_product_that_reranking_lifts_but_not_far_enough_is_below_the_cut(make_generation, word_reranker):
    kind = make_generation(SHOP, reranker=word_reranker({"pink": 3.0}))
    found = explained(kind, "red mouse", "sofa-pink", k=2)
    assert found.stage("fusion").rank > found.rank > 2
    assert found.verdict is Verdict.below_k


def test_lost_to_the_deadline(make_generation, word_reranker):
    late = make_generation(SHOP, reranker=word_reranker({"pink": 3.0}, weight=1.0), cost=BatchCost(1e9, 1e9))
    found = explained(late, "red mouse", "sofa-pink", k=8, deadline_ms=1000.0)
    assert found.verdict is Verdict.lost_to_deadline
    assert found.otherwise.change == "reranked in time"
    assert found.otherwise.rank <= 8
    assert found.stage("rerank").note == "skipped to keep the deadline"
    assert explained(late, "red mouse", "sofa-grey", k=8, deadline_ms=1000.0).verdict is Verdict.below_k
    assert explained(late, "red mouse", "sofa-pink", k=8).verdict is Verdict.shown


# --- what stages say beside the verdict -------------------------------------------------------------------------------


def test_a_product_that_never_reached_the_reranker_is_told_what_it_would_have_scored(make_generation, word_reranker):
    deep = make_generation(SHOP, fusion=RrfConfig(source_depth=6), reranker=word_reranker({"pink": 3.0}))
    found = explained(deep, "red mouse", "sofa-pink", k=4, depth=6)
    stage = found.stage("rerank")
    assert (stage.outcome, stage.score, stage.rank, stage.of) == (Outcome.not_reached, 3.0, 1, 7)
    assert found.attribution is None


@pytest.mark.parametrize(
    ("weight", "rerank", "note"),
    [(0.0, True, "weighs 0 in the final fusion"), (0.5, False, "not asked for"), (None, True, "no reranker loaded")],
)
def test_a_reranker_that_does_not_run_says_why(make_generation, word_reranker, weight, rerank, note):
    reranker = None if weight is None else word_reranker({"red": 1.0}, weight=weight)
    found = explained(make_generation(SHOP, reranker=reranker), "red mouse", "mouse-red", rerank=rerank)
    assert (found.stage("rerank").outcome, found.stage("rerank").note) == (Outcome.skipped, note)


@pytest.mark.parametrize(("weights", "silent"), [({"lexical": 0.0}, "lexical"), ({"dense": 0.0}, "dense")])
def test_a_source_of_weight_zero_is_not_asked_and_says_so(make_generation, weights, silent):
    found = explained(make_generation(SHOP, fusion=RrfConfig(**weights)), "red mouse", "mouse-red")
    assert (found.stage(silent).outcome, found.stage(silent).note) == (
        Outcome.skipped,
        "not asked: weighs 0 in the fusion",
    )
    assert found.stage("fusion").note == "one source: its own order"


def test_ranks_count_only_what_the_filter_lets_through(shop):
    found = explained(shop, "red mouse", "mouse-pink", filters=[("price", "==", 0)], k=3)
    assert found.stage("dense").of == 8
    assert found.stage("lexical").of == 8


@pytest.fixture(scope="module")
def living(make_generation):
    """The shop after a red mouse was deleted and a teal one came."""
    built = make_generation(
        SHOP, index=lambda exact: build_index(FlatConfig(), exact._vectors, tie_rank=exact._tie_rank)
    )
    newer = [Product("mouse-teal", "teal mouse", price=0.0)]
    layers = built.living.layers.deleting(["mouse-red"])
    layers = layers.upserting(newer, [b"k" * 16], built.tower.encode_products(["teal mouse"]))
    products = layers.products()
    return replace(
        built,
        products=products,
        vectors=layers.vectors(),
        retriever=layers.retriever(built.retriever, products),
        living=replace(built.living, layers=layers),
    )


@pytest.mark.parametrize("filters", [None, [("price", "==", 0)]])
def test_a_product_that_is_no_longer_there_is_no_rival(living, filters):
    found = explained(living, "red mouse", "mouse-blue", filters=filters)
    assert found.stage("dense").of == (64 if filters is None else 8)
    assert found.stage("catalogue").of == 64


def test_a_product_that_came_since_is_explained_like_any_other(living):
    found = explained(living, "teal mouse", "mouse-teal")
    assert (found.verdict, found.rank) == (Verdict.shown, 1)
    assert [share.word for share in found.words] == ["teal", "mouse"]


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_what_search_refuses_is_refused(shop):
    engine = engine_over(shop)
    with pytest.raises(InvalidQuery, match="a query needs at least one visible character"):
        engine.explain(" ", "mouse-red")
    with pytest.raises(ValueError, match="depth=5 is below k=10"):
        engine.explain("red", "mouse-red", depth=5)
    with pytest.raises(InvalidQuery, match="there is no column 'pric' to filter on"):
        engine.explain("red", "nobody", filters=[("pric", "<", 3)])
    with pytest.raises(InvalidQuery, match="built on brought vectors without an encoder"):
        engine_over(replace(shop, tower=None)).explain("red", "mouse-red")


def test_a_product_id_that_is_no_string_is_refused(shop):
    with pytest.raises(InvalidQuery, match="a product_id is a string, got 17"):
        engine_over(shop).explain("red", 17)


def test_a_stage_that_does_not_exist_is_no_stage(shop):
    with pytest.raises(KeyError, match="visual"):
        engine_over(shop).explain("red", "mouse-red").stage("visual")
