"""Live recall on an engine: a good index raises no alarm, a decayed one does, and searches answer as before."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from indexing.types import BoolVector, FloatMatrix, Neighbors, VectorIndex
from retrieval.records import Product
from retrieval.retriever import Retriever
from shortlist import SearchEngine
from shortlist.building.job import build
from shortlist.config import BuildConfig, System
from shortlist.generation import Generation
from shortlist.monitoring.recall import RecallState, RecallWatch

WAIT_S = 60.0


class Lossy:
    """An index that loses every row whose number divides by ``loses``, as one does that no longer fits its vectors."""

    def __init__(self, index: VectorIndex, loses: int) -> None:
        self.index, self.loses = index, loses

    @property
    def count(self) -> int:
        return self.index.count

    @property
    def dim(self) -> int:
        return self.index.dim

    def search(self, queries: FloatMatrix, k: int, *, eligible: BoolVector | None = None) -> Neighbors:
        found = self.index.search(queries, k, eligible=eligible)
        if self.loses:
            lost = found.rows % self.loses == 0
            found.rows[lost] = -1
            found.scores[lost] = float("-inf")
        return found


@pytest.fixture
def engine(published: Path) -> SearchEngine:
    return SearchEngine.open(published)


@pytest.fixture(scope="module")
def texts(tiny_products: Sequence[Product]) -> list[str]:
    return [product.title for product in tiny_products]


def with_lossy_index(engine: SearchEngine) -> Lossy:
    """Put an index that can lose rows between the engine's retriever and its own."""
    generation: Generation = engine._generation
    parts = generation.retriever
    lossy = Lossy(parts._dense, loses=0)
    retriever = Retriever(parts._encoder, lossy, parts._lexical, generation.products, parts._fusion)
    engine._serving = replace(generation, retriever=retriever)
    return lossy


def settled(watch: RecallWatch) -> RecallState:
    assert watch.settle(WAIT_S)
    return watch.state()


def test_an_exact_index_has_a_recall_of_one_and_raises_no_alarm(engine: SearchEngine, texts: list[str]):
    with engine.watch_recall(sample=1.0, load=1.0) as watch:
        for text in texts:
            engine.search(text)
            settled(watch)
        engine.search(texts[0], filters=[("brand", "==", "Acme")])
        engine.search(texts[0], filters=[("price", "<", 0.0)])
        asyncio.run(engine.asearch(texts[0]))
        engine.search_many(texts[:3])
        state = settled(watch)
    assert state.version == engine.generation
    assert (state.seen, state.checked, state.empty, state.dropped) == (66, 65, 1, 0)
    assert (state.mean, state.upper, state.alarm) == (1.0, 1.0, False)
    assert state.lower > 0.9


def test_a_decay_while_the_engine_serves_raises_the_alarm(engine: SearchEngine, texts: list[str]):
    told: list[RecallState] = []
    lossy = with_lossy_index(engine)
    with engine.watch_recall(k=60, sample=1.0, load=1.0, on_alarm=told.append) as watch:
        for text in texts:
            engine.search(text)
            settled(watch)
        assert not watch.state().alarm
        lossy.loses = 6  # ten of the sixty products
        for text in texts:
            engine.search(text)
            settled(watch)
        state = watch.state()
    assert state.alarm
    assert len(told) == 1
    assert 60 < told[0].checked < 90
    assert state.recent == pytest.approx((60 * 1.0 + 60 * 50 / 60) / 120)


def test_a_version_with_a_bad_index_raises_the_alarm_that_the_one_before_did_not(
    engine: SearchEngine, shop: Path, build_config: Callable[..., BuildConfig], tmp_path: Path, texts: list[str]
):
    kind = ["index=ivf_sq8", "index.lists=4", "index.probes=1", "index.recall_target=0", "fusion.source_depth=1"]
    build(build_config(*kind), source=shop, out=tmp_path / "bad")
    bad = SearchEngine.open(tmp_path / "bad")
    with engine.watch_recall(target=0.99, k=10, sample=1.0, load=1.0) as watch:
        for text in texts:
            engine.search(text, depth=10)
            settled(watch)
        good_state = watch.state()
        engine._serving = bad._generation
        for text in texts:
            engine.search(text, depth=10)
            settled(watch)
        bad_state = watch.state()
    assert (good_state.checked, good_state.alarm) == (60, False)
    assert bad_state.version == bad.generation != good_state.version
    assert bad_state.alarm
    assert bad_state.mean is not None
    assert bad_state.upper < 1.0


def test_upserts_and_deletes_go_on_in_the_same_numbers_and_lose_no_recall(
    bundle: Path, tiny_products: Sequence[Product], texts: list[str]
):
    engine = SearchEngine.open(bundle)
    with engine.watch_recall(sample=1.0, load=1.0) as watch:
        engine.search(texts[0])
        settled(watch)
        engine.delete([product.product_id for product in tiny_products[:5]])
        engine.upsert([replace(tiny_products[9], title="sofa"), replace(tiny_products[0], title="sofa")])
        for text in texts[:10]:
            engine.search(text)
            settled(watch)
        state = watch.state()
    assert engine.generation.startswith(f"{state.version}+")
    assert (state.checked, state.mean) == (11, 1.0)


def test_answers_are_the_same_with_and_without_a_watch(engine: SearchEngine, texts: list[str]):
    before = [engine.search(text).hits for text in texts[:10]]
    with engine.watch_recall(sample=1.0, load=1.0):
        assert [engine.search(text).hits for text in texts[:10]] == before


def test_an_engine_is_watched_once_at_a_time(engine: SearchEngine):
    with engine.watch_recall(), pytest.raises(ValueError, match="recall is watched already; close that watch first"):
        engine.watch_recall()
    engine.watch_recall().close()
    with pytest.raises(ValueError, match="sample must be above 0"):
        engine.watch_recall(sample=0)
    engine.watch_recall().close()


def test_evaluation_and_item_to_item_do_not_count_as_traffic(engine: SearchEngine):
    with engine.watch_recall(sample=1.0, load=1.0) as watch:
        engine.similar("0003")
        engine.run("mouse", System.hybrid, depth=10, run_depth=10)
        assert watch.state().seen == 0
