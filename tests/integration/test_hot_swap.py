"""One engine, several versions: what reloads, refusals, watching and closing promise to those who search meanwhile."""

import gc
import itertools
import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from indexing import storage
from indexing.errors import ArtifactCorrupt, EngineClosed, ReloadRejected, StorageError
from rerank.cross_encoder import CrossEncoderReranker
from retrieval.encoder import DualEncoder
from retrieval.records import Product
from shortlist import SearchEngine
from shortlist.bundle import CURRENT
from shortlist.config import System
from shortlist.generation import Generation
from shortlist.living.journal import JOURNAL, append_change
from shortlist.living.records import Delete
from shortlist.opening import Opening
from shortlist.watching import LOOKS, WatchEvent, look_at_file, look_at_journal
from tools.reliability.harness.bad_candidates import BAD_CANDIDATES
from tools.reliability.harness.bad_candidates.kind import offered
from tools.reliability.harness.generations import Version, publish_family

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def published_family(tmp_path_factory: pytest.TempPathFactory) -> list[Version]:
    """Four versions: the first two share both models, the third has another encoder, the fourth another of each."""
    return publish_family(tmp_path_factory.mktemp("family"))


@pytest.fixture
def family(published_family: list[Version]) -> list[Version]:
    """The four versions, the first of them live."""
    published_family[0].make_live()
    return published_family


@pytest.fixture
def engine(family: list[Version]) -> Iterator[SearchEngine]:
    with SearchEngine.open(family[0].root, threads=1, joining=False) as opened:
        yield opened


def truncate_index(version: Version, tmp_path: Path) -> Version:
    """Return a copy of a version's bundle in which that version is live and harmed."""
    root = tmp_path / "harmed"
    shutil.copytree(version.root, root)
    path = root / "versions" / version.name / "index" / "faiss.index"
    path.write_bytes(path.read_bytes()[:-1])
    return Version(root, version.name, version.manifest_sha256)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def mapped_below(folder: Path) -> list[str]:
    """Return the files below ``folder`` that this process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sorted({line.split(maxsplit=5)[5] for line in lines if str(folder) in line})


# --- one generation per call ------------------------------------------------------------------------------------------


class Watched(SearchEngine):
    """An engine that counts how often its generation is taken."""

    taken = 0

    @property
    def _generation(self) -> Generation:
        self.taken += 1
        return super()._generation


@pytest.fixture(scope="module")
def watched(reranked: Path) -> Watched:
    return Watched.open(reranked)


PUBLIC_CALLS: dict[str, Callable[[SearchEngine], Any]] = {
    "generation": lambda engine: engine.generation,
    "product_count": lambda engine: engine.product_count,
    "bundle": lambda engine: engine.bundle,
    "cache_states": lambda engine: engine.cache_states,
    "good_grade": lambda engine: engine.good_grade is None,  # this bundle's cross-encoder learned no probabilities
    "has_reranker": lambda engine: engine.has_reranker,
    "product": lambda engine: engine.product("0003"),
    "search": lambda engine: engine.search("red mouse", filters=[("price", "<", 90.0)], deadline_ms=5000.0),
    "search_many": lambda engine: engine.search_many(["red mouse", "couch"], filters=[("price", "<", 90.0)]),
    "explain": lambda engine: engine.explain("red mouse", "0003", filters=[("price", "<", 90.0)]),
    "similar": lambda engine: engine.similar("0003", filters=[("price", "<", 90.0)]),
    "run": lambda engine: engine.run("couch", System.hybrid_rerank, depth=5, run_depth=20, filters=[("price", ">", 1)]),
}


OTHERS = {"open", "asearch", "upsert", "delete", "follow", "reload", "watch", "watch_recall", "catch_up", "close"}
"""What answers nothing itself: asearch is search, and those that exchange the generation hold it under a lock."""


def test_every_public_call_is_held_to_taking_the_generation_once():
    public = {name for name in dir(SearchEngine) if not name.startswith("_")}
    assert public == {*PUBLIC_CALLS, *OTHERS}


@pytest.mark.parametrize("call", PUBLIC_CALLS.values(), ids=PUBLIC_CALLS)
def test_a_public_call_takes_the_generation_exactly_once(watched: Watched, call: Callable[[SearchEngine], Any]):
    watched.taken = 0
    assert call(watched)
    assert watched.taken == 1


def test_a_call_under_way_ends_on_the_generation_it_began_with(
    engine: SearchEngine, family: list[Version], monkeypatch: pytest.MonkeyPatch
):
    undisturbed = engine.search("red mouse", k=5, depth=8)
    inside, go_on, score = threading.Event(), threading.Event(), CrossEncoderReranker.score

    def slow(self: CrossEncoderReranker, query: str, texts: list[str]) -> Any:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            assert go_on.wait(PATIENCE_S)
        return score(self, query, texts)

    monkeypatch.setattr(CrossEncoderReranker, "score", slow)
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(engine.search, "red mouse", k=5, depth=8)
        assert inside.wait(PATIENCE_S)
        family[3].make_live()
        assert engine.reload() == family[3].name
        assert engine.search("red mouse").generation == family[3].name
        go_on.set()
        ended = begun.result(PATIENCE_S)
    assert (ended.generation, ended.hits) == (undisturbed.generation, undisturbed.hits)


# --- reload -----------------------------------------------------------------------------------------------------------


def test_reload_serves_what_is_live_and_says_so_or_that_nothing_changed(engine: SearchEngine, family: list[Version]):
    assert engine.reload() is None
    for version in (family[1], family[2], family[0]):  # forth, to another encoder, and back
        version.make_live()
        assert engine.reload() == version.name
        assert engine.reload() is None
        result = engine.search("red mouse")
        assert result.generation == engine.generation == engine.bundle.manifest.version == version.name
        with SearchEngine.open(version.root, threads=1) as fresh:
            assert result.hits == fresh.search("red mouse").hits


def test_models_of_one_fingerprint_are_loaded_once(
    engine: SearchEngine, family: list[Version], monkeypatch: pytest.MonkeyPatch
):
    loaded = []
    for kind in (DualEncoder, CrossEncoderReranker):

        def counted(cls: Any, *given: Any, opener: Any = kind.open) -> Any:
            loaded.append(cls.__name__)
            return opener(*given)

        monkeypatch.setattr(kind, "open", classmethod(counted))
    for version, newly in (
        (family[1], []),
        (family[2], ["DualEncoder"]),
        (family[3], ["CrossEncoderReranker"]),
        (family[1], ["CrossEncoderReranker", "DualEncoder"]),
        (family[0], []),
    ):
        loaded.clear()
        version.make_live()
        assert engine.reload() == version.name
        assert sorted(loaded) == newly


def test_a_shared_reranker_keeps_the_cost_that_was_measured_when_nobody_used_it(
    engine: SearchEngine, family: list[Version]
):
    first = engine._generation.cost
    for version, same in ((family[1], True), (family[2], True), (family[3], False)):
        version.make_live()
        engine.reload()
        assert (engine._generation.cost is first) is same


def test_a_bad_candidate_is_refused_with_the_reason_and_the_old_one_serves_on(family: list[Version], tmp_path: Path):
    harmed = truncate_index(family[1], tmp_path)
    Version(harmed.root, family[0].name, family[0].manifest_sha256).make_live()
    with SearchEngine.open(harmed.root, threads=1) as engine:
        before = engine.search("red mouse").hits
        harmed.make_live()
        for _ in range(2):
            with pytest.raises(
                ReloadRejected, match=r"refused: ArtifactCorrupt: .*faiss\.index has .* bytes"
            ) as refused:
                engine.reload()
            assert isinstance(refused.value.__cause__, ArtifactCorrupt)
            assert refused.value.serving_version == engine.generation == family[0].name
            assert refused.value.cause in str(refused.value)
            assert f"{family[0].name} goes on serving" in str(refused.value)
        assert engine.search("red mouse").hits == before


def test_a_candidate_that_does_not_reproduce_its_stored_queries_is_refused_though_its_encoder_is_shared(
    engine: SearchEngine, family: list[Version], monkeypatch: pytest.MonkeyPatch
):
    tower = engine._generation.tower
    assert isinstance(tower, DualEncoder)
    monkeypatch.setattr(tower, "encode_queries", lambda texts: DualEncoder.encode_queries(tower, texts)[:, ::-1].copy())
    family[1].make_live()
    with pytest.raises(ReloadRejected, match=r"FingerprintMismatch: .*does not reproduce the bundle's stored queries"):
        engine.reload()
    assert engine.generation == family[0].name


def test_what_is_no_error_of_ours_refuses_a_candidate_too_but_an_interrupt_passes(
    engine: SearchEngine, family: list[Version], monkeypatch: pytest.MonkeyPatch
):
    class PanicException(BaseException):
        """As the tokenizers raise it, outside Exception."""

    family[1].make_live()
    for error in (MemoryError("no room"), PanicException("index out of bounds")):
        monkeypatch.setattr(Opening, "load", _raising(error))
        with pytest.raises(ReloadRejected, match=f"{type(error).__name__}: {error}"):
            engine.reload()
    monkeypatch.setattr(Opening, "load", _raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        engine.reload()
    monkeypatch.undo()
    assert engine.reload() == family[1].name


def _raising(error: BaseException) -> Callable[..., Any]:
    def load(self: Opening, *, beside: Generation | None = None) -> Generation:
        raise error

    return load


def test_concurrent_reloads_load_a_version_once(
    engine: SearchEngine, family: list[Version], monkeypatch: pytest.MonkeyPatch
):
    loading, load, most = [], Opening.load, []

    def counted(self: Opening, *, beside: Generation | None = None) -> Generation:
        loading.append(beside)
        most.append(len(loading))
        try:
            return load(self, beside=beside)
        finally:
            loading.pop()

    monkeypatch.setattr(Opening, "load", counted)
    family[2].make_live()
    with ThreadPoolExecutor(4) as pool:
        reloaded = list(pool.map(lambda _: engine.reload(), range(4)))
    assert sorted(reloaded, key=str) == [family[2].name, None, None, None]
    assert most == [1]


def test_what_was_upserted_while_a_version_was_loaded_is_in_it(
    family: list[Version], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = tmp_path / "bundle"
    shutil.copytree(family[0].root, root)
    load = Opening.load

    def meanwhile(self: Opening, *, beside: Generation | None = None) -> Generation:
        candidate = load(self, beside=beside)
        engine.upsert([Product("p900", "purple elephant", price=9.0)])
        engine.delete(["p001"])
        return candidate

    with SearchEngine.open(root, threads=1) as engine:
        monkeypatch.setattr(Opening, "load", meanwhile)
        Version(root, family[2].name, family[2].manifest_sha256).make_live()
        assert engine.reload() == f"{family[2].name}+2" == engine.generation
        assert engine.search("purple elephant").hits[0].product_id == "p900"
        with pytest.raises(KeyError):
            engine.product("p001")
        assert engine.reload() is None


# --- what is given back -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    """What goes meanwhile goes because nobody refers to it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collector")
def test_an_old_generation_goes_with_its_last_reader_files_and_models_included(
    engine: SearchEngine, family: list[Version]
):
    reader = engine._generation
    old, encoder = weakref.ref(reader), weakref.ref(reader.tower.model)
    index, reranker = weakref.ref(reader.living.layers.base.dense._proposer.index), weakref.ref(reader.reranker.model)
    weights = weakref.ref(next(reader.tower.model.parameters()))
    assert mapped_below(reader.bundle.folder)
    family[3].make_live()  # other models, other everything
    assert engine.reload() == family[3].name
    assert None not in (old(), encoder(), index(), reranker(), weights())
    folder = reader.bundle.folder
    del reader
    assert [found() for found in (old, encoder, index, reranker, weights)] == [None] * 5
    assert mapped_below(folder) == []
    assert mapped_below(engine.bundle.folder)


@pytest.mark.usefixtures("no_garbage_collector")
def test_shared_models_do_not_keep_the_files_of_the_version_they_were_read_from(
    engine: SearchEngine, family: list[Version]
):
    old, folder, tower = weakref.ref(engine._generation), engine.bundle.folder, engine._generation.tower
    family[1].make_live()
    engine.reload()
    assert engine._generation.tower is tower
    assert old() is None
    assert mapped_below(folder) == []


@pytest.mark.usefixtures("no_garbage_collector")
def test_a_version_can_be_collected_when_its_last_reader_has_left_and_not_before(
    engine: SearchEngine, family: list[Version]
):
    manifest = engine.bundle.folder / "MANIFEST.json"
    reader = engine._generation
    family[1].make_live()
    engine.reload()
    assert storage.hold(manifest, alone=True) is None
    del reader
    held = storage.hold(manifest, alone=True)
    assert held is not None
    held.close()


@pytest.mark.usefixtures("no_garbage_collector")
def test_whoever_keeps_the_error_of_a_refused_candidate_keeps_no_generation(family: list[Version], tmp_path: Path):
    root = tmp_path / "bundle"
    shutil.copytree(family[0].root, root)
    late = next(kind for kind in BAD_CANDIDATES if kind.name == "reranker_weights_are_not_numbers")
    with SearchEngine.open(root, threads=1) as engine:
        old = weakref.ref(engine._generation)
        with offered(root, late) as candidate, pytest.raises(ReloadRejected, match="hold NaN or infinity") as refused:
            engine.reload()
        assert mapped_below(root / "versions" / candidate) == []
        Version(root, family[1].name, family[1].manifest_sha256).make_live()
        engine.reload()
        assert old() is None
        assert refused.value.serving_version == family[0].name


# --- closing ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_garbage_collector")
def test_a_closed_engine_refuses_every_call_and_has_given_everything_back(family: list[Version]):
    engine = SearchEngine.open(family[0].root, threads=1)
    engine.search("red mouse")
    old, folder = weakref.ref(engine._generation), engine.bundle.folder
    engine.close()
    engine.close()
    assert old() is None
    assert mapped_below(folder) == []
    for call in (*PUBLIC_CALLS.values(), SearchEngine.reload, SearchEngine.watch):
        with pytest.raises(EngineClosed, match=r"the engine of .*bundle is closed; open another"):
            call(engine)
    with pytest.raises(EngineClosed), engine:
        engine.search("red mouse")


def test_closing_during_a_reload_drops_the_candidate(family: list[Version], monkeypatch: pytest.MonkeyPatch):
    engine = SearchEngine.open(family[0].root, threads=1)
    candidates, load = [], Opening.load

    def then_close(self: Opening, *, beside: Generation | None = None) -> Generation:
        candidate = load(self, beside=beside)
        candidates.append(weakref.ref(candidate))
        engine.close()
        return candidate

    monkeypatch.setattr(Opening, "load", then_close)
    family[1].make_live()
    with pytest.raises(EngineClosed):
        engine.reload()
    assert [candidate() for candidate in candidates] == [None]


def test_an_engine_that_is_closed_at_the_last_moment_of_a_reload_stays_closed(
    family: list[Version], monkeypatch: pytest.MonkeyPatch
):
    engine = SearchEngine.open(family[0].root, threads=1)
    monkeypatch.setattr("shortlist.serving.followed", lambda candidate: (engine.close(), candidate)[1])
    family[1].make_live()
    with pytest.raises(EngineClosed):
        engine.reload()
    with pytest.raises(EngineClosed):
        engine.search("red mouse")


def test_closing_an_engine_ends_what_watches_it_and_its_last_state_stays_readable(family: list[Version]):
    before = set(threading.enumerate())
    engine = SearchEngine.open(family[0].root, threads=1)
    engine.watch(poll_s=0.002)
    recall = engine.watch_recall(sample=1.0, load=1.0)
    engine.search("red mouse")
    assert recall.settle(PATIENCE_S)
    engine.close()
    assert set(threading.enumerate()) <= before
    assert (recall.state().version, recall.state().checked) == (family[0].name, 1)
    with pytest.raises(EngineClosed):
        engine.watch_recall()


# --- watching ---------------------------------------------------------------------------------------------------------


def test_a_watcher_follows_current_and_reports_every_reload(engine: SearchEngine, family: list[Version]):
    events: list[WatchEvent] = []
    with engine.watch(poll_s=0.005, on_event=events.append):
        for version in (family[1], family[2], family[0]):
            version.make_live()
            wait_until(lambda version=version: engine.generation == version.name)
        wait_until(lambda: len(events) == 3)
    assert events == [WatchEvent("reloaded", version.name) for version in (family[1], family[2], family[0])]
    family[1].make_live()
    time.sleep(0.05)
    assert engine.generation == family[0].name  # nobody watches any more


def test_a_watcher_applies_what_another_process_wrote_even_beside_a_refused_version(
    family: list[Version], tmp_path: Path
):
    harmed = truncate_index(family[1], tmp_path)
    Version(harmed.root, family[0].name, family[0].manifest_sha256).make_live()
    events: list[WatchEvent] = []
    with (
        SearchEngine.open(harmed.root, threads=1) as writer,
        SearchEngine.open(harmed.root, threads=1) as reader,
        reader.watch(poll_s=0.002, on_event=events.append),
    ):
        harmed.make_live()
        wait_until(lambda: events)
        writer.delete(["p001"])
        wait_until(lambda: reader.generation == f"{family[0].name}+1")
        wait_until(lambda: len(events) == 2)
        with pytest.raises(KeyError):
            reader.product("p001")
    assert [(event.kind, event.generation) for event in events] == [
        ("rejected", family[0].name),
        ("followed", f"{family[0].name}+1"),
    ]


def test_a_refused_candidate_is_tried_and_reported_once_and_the_next_one_is_taken(
    family: list[Version], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    harmed, looks = truncate_index(family[1], tmp_path), _counted_looks(monkeypatch)
    good = [Version(harmed.root, version.name, version.manifest_sha256) for version in (family[0], family[2])]
    good[0].make_live()
    events: list[WatchEvent] = []
    with SearchEngine.open(harmed.root, threads=1) as engine, engine.watch(poll_s=0.002, on_event=events.append):
        tries = _counted_loads(monkeypatch)
        harmed.make_live()
        wait_until(lambda: events)
        after = len(looks) + 10
        wait_until(lambda: len(looks) > after)
        assert len(tries) == 1
        assert [(event.kind, event.generation) for event in events] == [("rejected", family[0].name)]
        assert "ArtifactCorrupt" in events[0].message
        harmed.make_live()  # written again: tried again
        wait_until(lambda: len(events) == 2)
        good[1].make_live()
        wait_until(lambda: engine.generation == family[2].name)
        wait_until(lambda: len(events) == 3)
    assert [event.kind for event in events] == ["rejected", "rejected", "reloaded"]


def test_a_transient_error_is_reported_once_and_tried_again_with_growing_pauses(
    engine: SearchEngine, family: list[Version], monkeypatch: pytest.MonkeyPatch
):
    load, tries = Opening.load, []

    def refused_thrice(self: Opening, *, beside: Generation | None = None) -> Generation:
        tries.append(time.monotonic())
        if len(tries) <= 3:
            raise StorageError("could not open MANIFEST.json: Too many open files")
        return load(self, beside=beside)

    monkeypatch.setattr(Opening, "load", refused_thrice)
    events: list[WatchEvent] = []
    family[1].make_live()
    with engine.watch(poll_s=0.02, on_event=events.append):
        wait_until(lambda: engine.generation == family[1].name)
        wait_until(lambda: len(events) == 2)
    assert [event.kind for event in events] == ["failed", "reloaded"]
    assert "Too many open files" in events[0].message
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert all(pause >= least for pause, least in zip(pauses, (0.02, 0.04, 0.08), strict=True))


def test_a_watcher_outlives_its_listener_s_errors_and_a_bundle_that_is_gone_for_a_while(
    family: list[Version], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    root = tmp_path / "bundle"
    shutil.copytree(family[0].root, root)
    events: list[WatchEvent] = []

    def listen(event: WatchEvent) -> None:
        events.append(event)
        raise RuntimeError("the listener broke")

    with SearchEngine.open(root, threads=1) as engine, engine.watch(poll_s=0.002, on_event=listen):
        (root / CURRENT).rename(root / "elsewhere")
        wait_until(lambda: events)
        assert events[0].kind == "rejected"
        assert "CURRENT is missing" in events[0].message
        Version(root, family[1].name, family[1].manifest_sha256).make_live()
        wait_until(lambda: engine.generation == family[1].name)
    assert "the listener broke" in caplog.text


def test_a_listener_may_close_the_engine_and_the_watcher_ends(engine: SearchEngine, family: list[Version]):
    closed = threading.Event()

    def close(_: WatchEvent) -> None:
        engine.close()
        closed.set()

    watcher = engine.watch(poll_s=0.002, on_event=close)
    family[1].make_live()
    assert closed.wait(PATIENCE_S)
    watcher.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "shortlist-watch"]


def test_a_watcher_does_not_keep_its_engine_alive(family: list[Version]):
    engine = SearchEngine.open(family[0].root, threads=1)
    engine.watch(poll_s=0.002)
    gone = weakref.ref(engine)
    del engine
    wait_until(lambda: gone() is None)
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "shortlist-watch"])
    assert gone() is None
    assert "shortlist-watch" not in [thread.name for thread in threading.enumerate()]


def test_watching_without_a_pause_is_refused(engine: SearchEngine):
    with pytest.raises(ValueError, match=r"poll_s must be above 0 seconds, got 0"):
        engine.watch(poll_s=0)


def test_a_file_looks_different_once_it_is_replaced_even_by_one_as_long_and_as_old(tmp_path: Path):
    path = tmp_path / CURRENT
    looks = [look_at_file(path)]
    for content in (b"one", b"two"):
        storage.replace_bytes(path, content)
        os.utime(path, ns=(1, 1))
        looks.append(look_at_file(path))
        assert look_at_file(path) == looks[-1]
    assert len(set(looks)) == 3


def test_a_journal_looks_different_with_every_record_and_not_with_what_a_writer_leaves_beside(tmp_path: Path):
    looks = [look_at_journal(tmp_path / JOURNAL)]
    for _ in range(2):
        append_change(tmp_path, Delete(("p1",)), purpose="test")
        looks.append(look_at_journal(tmp_path / JOURNAL))
    (tmp_path / JOURNAL / ".000000000003.tmp").write_bytes(b"")
    assert look_at_journal(tmp_path / JOURNAL) == looks[-1]
    assert len(set(looks)) == 3


def _counted_looks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    looks: list[Path] = []

    def counted(path: Path) -> Any:
        looks.append(path)
        return look_at_file(path)

    monkeypatch.setitem(LOOKS, CURRENT, counted)
    return looks


def _counted_loads(monkeypatch: pytest.MonkeyPatch) -> list[Opening]:
    loads, load = [], Opening.load

    def counted(self: Opening, *, beside: Generation | None = None) -> Generation:
        loads.append(self)
        return load(self, beside=beside)

    monkeypatch.setattr(Opening, "load", counted)
    return loads
