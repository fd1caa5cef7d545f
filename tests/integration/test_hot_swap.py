from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shortlist import SearchEngine
from shortlist.config import System
from shortlist.generation import Generation


class Watched(SearchEngine):
    """An engine that counts how often its generation is taken."""

    taken = 0

    @property
    def _generation(self) -> Generation:
        self.taken += 1
        return self.held

    @_generation.setter
    def _generation(self, generation: Generation) -> None:
        self.held = generation


@pytest.fixture(scope="module")
def watched(reranked: Path) -> Watched:
    return Watched.open(reranked)


PUBLIC_CALLS: dict[str, Callable[[SearchEngine], Any]] = {
    "generation": lambda engine: engine.generation,
    "product_count": lambda engine: engine.product_count,
    "bundle": lambda engine: engine.bundle,
    "has_reranker": lambda engine: engine.has_reranker,
    "product": lambda engine: engine.product("0003"),
    "search": lambda engine: engine.search("red mouse", filters=[("price", "<", 90.0)], deadline_ms=5000.0),
    "search_many": lambda engine: engine.search_many(["red mouse", "couch"], filters=[("price", "<", 90.0)]),
    "similar": lambda engine: engine.similar("0003", filters=[("price", "<", 90.0)]),
    "run": lambda engine: engine.run("couch", System.hybrid_rerank, depth=5, run_depth=20, filters=[("price", ">", 1)]),
}


@pytest.mark.parametrize("call", PUBLIC_CALLS.values(), ids=PUBLIC_CALLS)
def test_a_public_call_takes_the_generation_exactly_once(watched: Watched, call: Callable[[SearchEngine], Any]):
    watched.taken = 0
    assert call(watched)
    assert watched.taken == 1
