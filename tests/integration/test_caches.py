"""An engine that remembers: what it gives again, what it never gives again, and that nobody else can change it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexing.errors import InvalidQuery
from rerank.cross_encoder import CrossEncoderReranker
from retrieval.encoder import DualEncoder
from retrieval.records import Product, SearchResult
from shortlist import CacheConfig, SearchEngine
from shortlist.caches import AnswerCache
from tools.reliability.harness.generations import Version, publish_family

ON = CacheConfig(answers=1000)


@pytest.fixture
def engine(bundle: Path) -> Iterator[SearchEngine]:
    with SearchEngine.open(bundle, threads=1, cache=ON) as opened:
        yield opened


@pytest.fixture(scope="module")
def reranking(reranked: Path) -> Iterator[SearchEngine]:
    with SearchEngine.open(reranked, threads=1, cache=ON) as opened:
        yield opened


def ids(result: SearchResult) -> list[str]:
    return [hit.product_id for hit in result.hits]


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_that_is_given_again_is_the_same_but_for_its_timings_and_says_so(reranking: SearchEngine):
    first = reranking.search("red mouse", k=5)
    again = reranking.search("  RED mouse".lower(), k=5)
    assert (first.cached, again.cached) == (False, True)
    assert replace(again, cached=False, timings_ms=first.timings_ms) == first
    assert set(again.timings_ms) == {"cache", "total"}


def test_nothing_is_asked_of_networks_and_indexes_for_an_answer_that_is_given_again(
    reranking: SearchEngine, monkeypatch: pytest.MonkeyPatch
):
    reranking.search("blue lamp", k=5)
    for kind, name in ((DualEncoder, "encode_queries"), (CrossEncoderReranker, "score")):
        monkeypatch.setattr(kind, name, lambda *_, name=name: pytest.fail(name))
    monkeypatch.setattr(reranking._generation.retriever.dense, "search", lambda *_, **__: pytest.fail("dense"), False)
    assert reranking.search("blue lamp", k=5).cached


OTHERWISE: dict[str, dict[str, Any]] = {
    "query": {"query": "red mice"},
    "k": {"k": 4},
    "depth": {"depth": 50},
    "filters": {"filters": [("price", "<", 40.0)]},
    "another filter": {"filters": [("price", "<", 40)]},
    "the same filter as a list": {"filters": [["price", "<", 40]]},
    "no filter": {"filters": []},
    "rerank": {"rerank": False},
}


def test_whatever_shapes_an_answer_tells_it_from_others(reranking: SearchEngine):
    asked = {"query": "red mouse and keyboard", "k": 5, "depth": 60}
    assert not reranking.search(**asked).cached
    for name, other in OTHERWISE.items():
        uncached = reranking.search(**asked | other)
        assert not uncached.cached, name
        assert reranking.search(**asked | other).cached, name
    assert reranking.search(**asked).cached
    assert reranking.search(**asked, deadline_ms=1e6).cached  # a whole answer is in time for any deadline


def test_arguments_are_refused_however_often_the_query_was_answered(reranking: SearchEngine):
    reranking.search("red mouse", k=1)
    with pytest.raises(TypeError, match="k must be an int, got True"):
        reranking.search("red mouse", k=True)
    with pytest.raises(TypeError, match="rerank must be True or False, got 1"):
        reranking.search("red mouse", k=1, rerank=1)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(InvalidQuery, match="there is no column 'prise'"):
            reranking.search("red mouse", k=1, filters=[("prise", "<", 1.0)])


def test_a_filter_that_cannot_be_told_from_another_is_answered_anew(reranking: SearchEngine):
    found = [reranking.search("red mouse", filters=[("price", "<", np.float64(50.0))]) for _ in range(2)]
    assert [result.cached for result in found] == [False, False]
    assert found[0].hits == found[1].hits


def test_what_was_degraded_is_not_given_again_and_a_deadline_of_0_skips_the_reranker_for_certain(
    reranking: SearchEngine,
):
    late = reranking.search("green sofa", k=5, deadline_ms=0)
    assert late.degraded == ("rerank",)
    whole = reranking.search("green sofa", k=5)
    assert (whole.degraded, whole.cached) == ((), False)
    assert reranking.search("green sofa", k=5, deadline_ms=0).degraded == ("rerank",)
    assert reranking.search("green sofa", k=5, deadline_ms=1e-9).cached


def test_what_a_caller_does_to_an_answer_is_his_own_business(engine: SearchEngine):
    first = engine.search("couch", k=3)
    untouched = engine.search("couch", k=3)
    for result in (first, untouched):
        for hit in result.hits:
            hit.product.attributes["poison"] = "yes"  # type: ignore[index]
            hit.product.extra["poison"] = True  # type: ignore[index]
            hit.stages["fusion"] = -1.0  # type: ignore[index]
    again = engine.search("couch", k=3)
    assert again.cached
    assert all("poison" not in {**hit.product.attributes, **hit.product.extra} for hit in again.hits)
    assert all(hit.stages["fusion"] > 0 for hit in again.hits)


def test_many_queries_are_answered_from_what_is_kept_and_what_is_not_makes_one_batch(
    reranking: SearchEngine, monkeypatch: pytest.MonkeyPatch
):
    first = reranking.search("violet sofa", k=5)
    batches: list[list[str]] = []
    encode = DualEncoder.encode_queries

    def noted(self: DualEncoder, texts: Sequence[str]) -> np.ndarray:
        batches.append(list(texts))
        return encode(self, texts)

    monkeypatch.setattr(DualEncoder, "encode_queries", noted)
    queries = ["violet lamp", "violet sofa", "violet mouse"]
    found = reranking.search_many(queries, k=5)
    assert [(result.query, result.cached) for result in found] == [*zip(queries, [False, True, False], strict=True)]
    assert replace(found[1], cached=False, timings_ms=first.timings_ms) == first
    assert batches == [["violet lamp", "violet mouse"]]
    again = reranking.search_many(queries[::-1], k=5)
    assert [result.cached for result in again] == [True] * 3
    assert [ids(result) for result in again[::-1]] == [ids(result) for result in found]
    assert reranking.search("violet lamp", k=5).cached  # what a batch answered, a single query is given
    assert not reranking.search_many(["violet lamp"], k=4)[0].cached
    assert len(batches) == 1  # the vector at least was known


def test_a_batch_is_not_kept_where_a_vector_depends_on_what_it_is_encoded_with(
    engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine._generation.lane, "_most", 0)  # as `joins` would have found
    asked = (["couch", "lamp"], ["couch"], ["couch", "lamp"], ["lamp"])
    found = [[result.cached for result in engine.search_many(queries, k=3)] for queries in asked]
    assert found == [[False, False], [False], [True, False], [True]]  # "lamp" was encoded alone the second time


def test_a_bad_query_or_filter_among_many_is_refused_though_the_others_are_kept(engine: SearchEngine):
    engine.search_many(["couch", "lamp"])
    with pytest.raises(InvalidQuery):
        engine.search_many(["couch", ""])
    with pytest.raises(InvalidQuery, match="there is no column 'prise'"):
        engine.search_many(["couch", "lamp"], filters=[("prise", "<", 1.0)])


def test_by_default_no_answer_is_kept_and_a_cache_that_is_off_keeps_nothing(bundle: Path):
    with SearchEngine.open(bundle, threads=1) as engine:
        assert [engine.search("couch").cached for _ in range(2)] == [False, False]
        states = engine.cache_states
        assert (states.answers.entries, states.embeddings.entries) == (0, 1)
        assert states.embeddings.hits == 1
    with SearchEngine.open(bundle, threads=1, cache=CacheConfig.off()) as engine:
        engine.search("couch")
        engine.search("couch")
        assert engine.cache_states.embeddings.entries == 0


@pytest.mark.parametrize("name", ["embeddings", "embedding_mib", "answers", "answer_mib"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "10"])
def test_a_size_that_is_none_is_refused(name: str, value: object):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of 0 or more, got {value!r}"):
        CacheConfig(**{name: value})  # type: ignore[arg-type]


def test_the_least_used_answer_makes_room_and_the_counters_say_what_happened(bundle: Path):
    with SearchEngine.open(bundle, threads=1, cache=CacheConfig(answers=2)) as engine:
        for query in ("couch", "mouse", "couch", "lamp", "mouse"):
            engine.search(query)
        answers = engine.cache_states.answers
    assert (answers.entries, answers.hits, answers.misses, answers.evicted) == (2, 1, 4, 2)
    assert answers.size_bytes > 1000


# --- what changed since is seen ---------------------------------------------------------------------------------------


def test_a_deleted_product_is_never_given_again_and_an_upserted_one_is_seen_at_once(engine: SearchEngine):
    victim = engine.search("acme office chair", k=5).hits[0].product
    assert victim.product_id in ids(engine.search("acme office chair", k=5))
    engine.delete([victim.product_id])
    after = engine.search("acme office chair", k=5)
    assert not after.cached
    assert victim.product_id not in ids(after)
    assert engine.search("acme office chair", k=5).cached
    engine.upsert([replace(victim, price=1.0)])
    back = engine.search("acme office chair", k=5)
    assert [hit.product.price for hit in back.hits if hit.product_id == victim.product_id] == [1.0]


def test_what_another_process_wrote_is_seen_after_following_the_journal(bundle: Path, engine: SearchEngine):
    victim = engine.search("couch", k=5).hits[0].product_id
    with SearchEngine.open(bundle, threads=1) as other:
        other.delete([victim])
    assert engine.search("couch", k=5).cached  # as it was: this process has not looked
    assert engine.follow()
    assert victim not in ids(engine.search("couch", k=5))


def test_no_search_that_begins_after_a_delete_returned_finds_the_product_while_many_search(bundle: Path):
    queries = ["couch", "red mouse", "acme office chair", "wireless keyboard"]
    gone: set[str] = set()
    seen: list[str] = []
    stop = threading.Event()

    def shopper(number: int) -> int:
        asked = 0
        while not stop.is_set():
            before = frozenset(gone)
            found = ids(engine.search(queries[(number + asked) % len(queries)], k=10))
            seen.extend(before.intersection(found))
            asked += 1
        return asked

    with SearchEngine.open(bundle, threads=1, cache=ON) as engine, ThreadPoolExecutor(4) as pool:
        shoppers = [pool.submit(shopper, number) for number in range(4)]
        for _ in range(15):
            victim = ids(engine.search("couch", k=10))[0]
            engine.delete([victim])
            gone.add(victim)
        stop.set()
        assert sum(done.result() for done in shoppers) > 15
        assert engine.cache_states.answers.hits > 0
    assert seen == []


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> list[Version]:
    return publish_family(tmp_path_factory.mktemp("family"))


def test_an_answer_is_never_that_of_another_version_and_vectors_are_kept_while_the_tower_is_the_same(
    family: list[Version], monkeypatch: pytest.MonkeyPatch
):
    family[0].make_live()
    encoded: list[str] = []
    encode = DualEncoder.encode_queries

    def noted(self: DualEncoder, texts: Sequence[str]) -> np.ndarray:
        encoded.extend(texts)
        return encode(self, texts)

    with SearchEngine.open(family[0].root, threads=1, cache=ON) as engine:
        engine.search("red mouse")
        for version, again in ((family[1], []), (family[2], ["red mouse"]), (family[0], ["red mouse"])):
            version.make_live()
            engine.reload()
            monkeypatch.setattr(DualEncoder, "encode_queries", noted)
            encoded.clear()
            result = engine.search("red mouse")
            assert (result.cached, result.generation, encoded) == (False, version.name, again)
            monkeypatch.undo()
            assert engine.search("red mouse").cached
            with SearchEngine.open(version.root, threads=1) as fresh:
                assert [hit.product_id for hit in fresh.search("red mouse").hits] == ids(result)


def test_an_answer_that_was_under_way_when_the_version_changed_is_not_given_by_the_next(
    family: list[Version], monkeypatch: pytest.MonkeyPatch
):
    family[0].make_live()
    kept: list[Callable[[], None]] = []
    put = AnswerCache.put
    with SearchEngine.open(family[0].root, threads=1, cache=ON) as engine:
        monkeypatch.setattr(AnswerCache, "put", lambda self, key, found: kept.append(lambda: put(self, key, found)))
        engine.search("red mouse")
        family[1].make_live()
        engine.reload()
        kept[0]()  # it comes late
        assert engine.search("red mouse").generation == family[1].name


def test_closing_lets_go_of_what_was_kept(bundle: Path):
    engine = SearchEngine.open(bundle, threads=1, cache=ON)
    engine.search("couch")
    engine.close()
    assert engine._answers.state.entries == 0


# --- many callers, one lane -------------------------------------------------------------------------------------------


def test_many_callers_at_once_get_what_one_alone_gets(bundle: Path):
    words = ["red", "wireless", "mouse", "couch", "for", "the", "office", "chair", "blue", "lamp"]
    queries = [" ".join(words[n % 10 : n % 10 + 1 + n % 4]) for n in range(40)]
    with SearchEngine.open(bundle, threads=1, cache=CacheConfig.off()) as engine:
        assert engine._generation.lane.joining
        alone = [engine.search(query, k=8) for query in queries]
        sizes: list[int] = []
        forward = DualEncoder.encode_queries

        def noted(self: DualEncoder, texts: Sequence[str]) -> np.ndarray:
            sizes.append(len(texts))
            return forward(self, texts)

        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(16) as pool:
            patch.setattr(DualEncoder, "encode_queries", noted)
            together = list(pool.map(lambda query: engine.search(query, k=8), queries * 3))
    assert max(sizes) > 1
    for one, many in zip(alone * 3, together, strict=True):
        assert ids(many) == ids(one)
        np.testing.assert_allclose([hit.score for hit in many.hits], [hit.score for hit in one.hits], atol=1e-6)


def test_a_function_in_place_of_the_tower_is_called_as_its_owner_asks(bundle: Path, tiny_model_folder: Path):
    tower = SearchEngine.open(bundle, threads=1)._generation.tower
    asked: list[list[str]] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        asked.append(list(texts))
        return tower.encode_queries(texts)

    with SearchEngine.open(bundle, threads=1, encoder=encode) as engine:
        asked.clear()
        engine.search("couch")
        engine.search("couch")
        assert engine.cache_states.embeddings is None
    assert asked == [["couch"], ["couch"]]


def test_a_product_s_fields_reach_the_answer_however_it_came(engine: SearchEngine):
    product = Product("new-1", "violet reading lamp", attributes={"colour": "violet"}, price=3.0)
    engine.search("violet reading lamp", k=3)
    engine.upsert([product])
    for cached in (False, True):
        result = engine.search("violet reading lamp", k=3)
        assert (result.cached, result.hits[0].product.attributes) == (cached, {"colour": "violet"})
