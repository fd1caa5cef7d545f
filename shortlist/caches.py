"""What an engine remembers: vectors of queries, and whole answers.

An answer is kept under the generation that gave it and every argument that shapes it. A generation is one object: a
reload, an upsert and a delete make another, so an answer from before is never given again, whatever its name. Answers
that a deadline cut short are not kept.
"""

import sys
from collections.abc import Hashable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from indexing.types import FloatVector
from retrieval.caching import BoundedCache, CacheState
from retrieval.records import Hit, SearchResult
from shortlist.answering import Asked
from shortlist.generation import Generation

MIB = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheConfig:
    """How much an engine may remember; 0 of anything turns that cache off.

    Attributes:
        embeddings: Query vectors. A vector of 384 dimensions takes 1.5 KiB, and saves the query tower's time.
        embedding_mib: MiB of them at most.
        answers: Whole answers; off unless asked for, since an answer that is remembered is not seen by whatever watches
            searches (`SearchEngine.watch_recall`, a load test).
        answer_mib: MiB of them at most, by a count of their texts.
    """

    embeddings: int = 10_000
    embedding_mib: int = 64
    answers: int = 0
    answer_mib: int = 64

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("embeddings", "embedding_mib", "answers", "answer_mib"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} must be a whole number of 0 or more, got {value!r}")

    @classmethod
    def off(cls) -> "CacheConfig":
        """Return the configuration of an engine that remembers nothing, as measurements want it."""
        return cls(embeddings=0, answers=0)

    def query_vectors(self) -> BoundedCache[str, FloatVector]:
        """Return an empty cache of query vectors."""
        return BoundedCache(entries=self.embeddings, size_bytes=self.embedding_mib * MIB)


@dataclass(frozen=True, slots=True)
class CacheStates:
    """Counters of both caches; ``embeddings`` is ``None`` where queries are not encoded by a bundle's own tower."""

    embeddings: CacheState | None
    answers: CacheState


class AnswerCache:
    """Whole answers; safe to share between threads."""

    def __init__(self, config: CacheConfig) -> None:
        """Make an empty one."""
        self._kept: BoundedCache[Hashable, SearchResult] = BoundedCache(
            entries=config.answers, size_bytes=config.answer_mib * MIB
        )

    @property
    def state(self) -> CacheState:
        """Counters."""
        return self._kept.state()

    def key(self, generation: Generation, asked: Asked) -> Hashable | None:
        """Return what an answer is kept under; ``None`` when nothing is kept, or a filter is none that can be told."""
        if not self._kept.is_on:
            return None
        try:
            filters = _frozen(asked.filters)
        except TypeError:
            return None
        return (generation.token, asked.text, asked.respelt, asked.k, asked.depth, asked.rerank, filters)

    def get(self, key: Hashable | None, start: float | None = None) -> SearchResult | None:
        """Return a copy of the answer under a key, said to be cached; ``None`` when there is none, or no key.

        Args:
            key: What :meth:`key` gave.
            start: Moment of ``perf_counter`` that the answer is timed from; ``None`` is now.
        """
        start = perf_counter() if start is None else start
        found = None if key is None else self._kept.get(key)
        if found is None:
            return None
        hits = tuple(_own(hit) for hit in found.hits)
        elapsed_ms = (perf_counter() - start) * 1000
        return replace(found, hits=hits, cached=True, timings_ms={"cache": elapsed_ms, "total": elapsed_ms})

    def put(self, key: Hashable | None, answer: SearchResult) -> None:
        """Keep a copy of an answer; of one that something was left out of, or without a key, keep nothing."""
        if key is None or answer.degraded:
            return
        kept = replace(answer, hits=tuple(_own(hit) for hit in answer.hits))
        self._kept.put(key, kept, sum(_size_bytes(hit) for hit in kept.hits) + len(answer.query))

    def clear(self) -> None:
        """Let go of all answers: another generation serves, which would never ask for them."""
        self._kept.clear()


def _own(hit: Hit) -> Hit:
    """Return a hit whose mappings nobody else has: a caller may do with an answer what he likes."""
    product = hit.product
    own = replace(product, attributes=dict(product.attributes), extra=dict(product.extra))
    return replace(hit, stages=dict(hit.stages), product=own)


def _size_bytes(hit: Hit) -> int:
    """Bytes of a hit's texts and mappings; the rest of it is as good as constant."""
    product = hit.product
    texts = [product.product_id, product.title, product.description, product.brand, product.category]
    mappings = (product.attributes, product.extra, hit.stages)
    held = sum(sys.getsizeof(value) for mapping in mappings for value in mapping.values())
    return 500 + sum(map(sys.getsizeof, texts)) + sum(map(sys.getsizeof, mappings)) + held


def _frozen(value: Any) -> Hashable:  # noqa: ANN401 - a filter's values are the caller's
    """Return a filter as something that equals another just when it means the same: ``1``, ``1.0`` and ``True`` differ.

    Raises:
        TypeError: It holds something that is no plain value, list or tuple.
    """
    if value is None or type(value) in (str, int, float, bool):
        return (type(value).__name__, value)
    if isinstance(value, list | tuple):
        return (type(value).__name__, tuple(_frozen(part) for part in value))
    raise TypeError(f"cannot tell filters of {type(value).__name__} apart")
