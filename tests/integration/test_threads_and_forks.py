"""What an engine promises to threads, event loops and forked children."""

import asyncio
import contextvars
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from indexing import forks, threads
from indexing.errors import EngineClosed, ForkSafetyError
from retrieval.config import RuntimeConfig
from retrieval.records import SearchResult
from retrieval.runtime import set_threads
from shortlist import SearchEngine
from shortlist.building.job import build
from tools.reliability.harness.processes import Ended, in_child

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def engine(reranked: Path) -> Iterator[SearchEngine]:
    with SearchEngine.open(reranked, threads=2) as opened:
        opened.search("red mouse")
        yield opened


# --- event loops ------------------------------------------------------------------------------------------------------


class Gate:
    """Searches that wait until they are let through."""

    def __init__(self, engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[str] = []
        self.options: list[dict[str, Any]] = []
        self.open = threading.Event()
        search = engine.search

        def gated(query: str, **options: Any) -> SearchResult:
            self.begun.append(query)
            self.options.append(options)
            assert self.open.wait(PATIENCE_S)
            return search(query, **options)

        monkeypatch.setattr(engine, "search", gated)

    async def full(self, size: int) -> None:
        while len(self.begun) < size:
            await asyncio.sleep(0.002)


def test_a_cancelled_search_that_waited_is_never_run_and_the_others_are_answered(
    engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
):
    gate = Gate(engine, monkeypatch)

    async def main() -> list[Any]:
        asked = [asyncio.ensure_future(engine.asearch(f"red mouse {n}", k=2)) for n in range(20)]
        await gate.full(4)
        await asyncio.sleep(0.02)
        assert len(gate.begun) == 4  # two threads of the budget, and one to wait for each model
        asked[0].cancel()  # runs already
        asked[19].cancel()  # waits
        await asyncio.sleep(0)
        gate.open.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(main())
    assert [place for place, answer in enumerate(answers) if isinstance(answer, asyncio.CancelledError)] == [0, 19]
    assert {answer.query for answer in answers[1:19]} == {f"red mouse {n}" for n in range(1, 19)}
    assert sorted(gate.begun) == sorted(f"red mouse {n}" for n in range(19))


def test_waiting_for_a_thread_counts_against_the_deadline(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch):
    gate = Gate(engine, monkeypatch)

    async def main() -> list[SearchResult]:
        asked = [asyncio.ensure_future(engine.asearch("red mouse", deadline_ms=60_000.0)) for _ in range(5)]
        await gate.full(4)
        await asyncio.sleep(0.1)
        gate.open.set()
        return await asyncio.gather(*asked)

    asyncio.run(main())
    left = [options["deadline_ms"] for options in gate.options]
    assert all(59_000 < budget <= 60_000 for budget in left[:4])
    assert left[4] <= 60_000 - 100


def test_asearch_runs_in_the_caller_s_context_and_raises_what_search_raises(
    engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
):
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")
    search, seen = engine.search, []

    def noted(query: str, **options: Any) -> SearchResult:
        seen.append(request.get("none"))
        return search(query, **options)

    monkeypatch.setattr(engine, "search", noted)

    async def main() -> None:
        request.set("r-17")
        await engine.asearch("red mouse", k=0)

    with pytest.raises(ValueError, match="k must be at least 1"):
        asyncio.run(main())
    assert seen == ["r-17"]


def test_searches_that_wait_when_the_engine_is_closed_are_refused_and_the_loop_goes_on(
    reranked: Path, monkeypatch: pytest.MonkeyPatch
):
    engine = SearchEngine.open(reranked, threads=1)
    gate = Gate(engine, monkeypatch)

    async def main() -> list[Any]:
        asked = [asyncio.ensure_future(engine.asearch("red mouse")) for _ in range(6)]
        await gate.full(3)
        engine.close()
        gate.open.set()
        with pytest.raises(EngineClosed):
            await engine.asearch("red mouse")
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(main())] == [EngineClosed] * 6


# --- one budget of threads --------------------------------------------------------------------------------------------


@pytest.fixture
def budget_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    threads.set_budget(before)


@pytest.mark.usefixtures("budget_kept")
def test_every_thread_keeps_to_the_budget_whenever_it_was_started(engine: SearchEngine):
    def counts() -> tuple[int, int]:
        engine.search_many(["red mouse", "couch"])  # FAISS is told when a thread first searches
        return torch.get_num_threads(), threads.faiss.omp_get_max_threads()

    for budget in (3, 2):
        set_threads(RuntimeConfig(threads=budget))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(counts).result() == counts() == (budget, budget)


@pytest.mark.usefixtures("budget_kept")
def test_a_search_sets_no_thread_count_when_its_thread_has_one(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch):
    engine.search("red mouse")
    told: list[str] = []
    for module, name in ((torch, "set_num_threads"), (threads.faiss, "omp_set_num_threads")):
        monkeypatch.setattr(module, name, lambda count, name=name: told.append(f"{name}({count})"))
    engine.search("red mouse")
    engine.search_many(["red mouse", "couch"])
    engine.similar("0003")
    assert told == []


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hasty_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_switching")
def test_sixteen_threads_with_two_maximal_lengths_get_the_answers_of_a_serial_run(
    tmp_path: Path, build_config: Any, shop: Path
):
    engines = []
    for longest in (6, 40):
        build(build_config(f"encoder.query_max_tokens={longest}"), source=shop, out=tmp_path / str(longest))
        engines.append(SearchEngine.open(tmp_path / str(longest), threads=1, joining=False))
    words = ["red", "wireless", "mouse", "and", "a", "laptop", "sleeve", "in", "blue", "for", "the", "office", "chair"]
    asked = [(engines[n % 2], " ".join(words[: 1 + n % len(words)])) for n in range(24)]

    def answer(place: int) -> Any:
        engine, query = asked[place]
        return engine.search(query, k=5).hits

    serial = [answer(place) for place in range(len(asked))]
    with ThreadPoolExecutor(16) as pool:
        threaded = list(pool.map(answer, [n * 7 % 24 for n in range(24 * 8)]))
    assert threaded == [serial[n * 7 % 24] for n in range(24 * 8)]
    for engine in engines:
        engine.close()


# --- forks ------------------------------------------------------------------------------------------------------------


def refusal(call: Callable[[], object]) -> str:
    """Return what a call is refused with, in a child."""
    try:
        call()
    except ForkSafetyError as error:
        return str(error)
    return "answered"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_use_every_call_in_a_forked_child_is_refused_at_once(engine: SearchEngine, reranked: Path):
    asyncio.run(engine.asearch("red mouse"))  # its threads are there, and do not come along
    tower, reranker = engine._generation.tower, engine._generation.reranker
    index, vector = engine._generation.retriever._dense, engine._generation.vectors.take([0])
    calls: dict[str, Callable[[], object]] = {
        "generation": lambda: engine.generation,
        "search": lambda: engine.search("red mouse"),
        "search_many": lambda: engine.search_many(["red mouse", "couch"]),
        "asearch": lambda: asyncio.run(engine.asearch("red mouse")),
        "similar": lambda: engine.similar("0003"),
        "reload": engine.reload,
        "watch": engine.watch,
        "open": lambda: SearchEngine.open(reranked),
        "encoder": lambda: tower.encode_queries(["red mouse"]),
        "reranker": lambda: reranker.score("red mouse", ["a red mouse"]),
        "index": lambda: index.search(vector, 3),
    }
    with engine._changing, engine._reloading, tower.lane.lock:  # as another thread may hold them when the fork comes
        ended = in_child(lambda: {name: refusal(call) for name, call in calls.items()}, patience_s=PATIENCE_S)
    assert (ended.hung, ended.error) == (False, "")
    assert set(ended.value) == set(calls)
    for name, said in ended.value.items():
        assert f"was forked from process {os.getpid()} after models or indexes were used there" in said, name
    assert engine.search("red mouse").hits  # the parent goes on


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_closing_in_a_child_ends_and_takes_nothing_from_the_parent(engine: SearchEngine):
    with engine._changing:
        assert in_child(engine.close, patience_s=PATIENCE_S) == Ended()
    assert engine.search("red mouse").hits


def test_a_child_of_a_process_that_used_nothing_owns_its_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forks, "_owner", 0)

    def claim_and_fork_again() -> list[object]:
        forks.claim_threads()
        forks.claim_threads()
        return [forks.is_inherited(), in_child(lambda: refusal(forks.claim_threads)).value]

    ended = in_child(claim_and_fork_again, patience_s=PATIENCE_S)
    assert ended.value[0] is False
    assert "was forked from process" in ended.value[1]
    assert forks._owner == 0
