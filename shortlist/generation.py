"""Everything that answers a query, loaded from one bundle version: what an answer must never mix across versions."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np

from indexing.errors import InvalidQuery, VectorError
from indexing.observed import Observe
from indexing.types import BoolVector, FloatMatrix, Vectors
from indexing.vectors import check_vectors
from rerank.answer import LOOKED_AT, Shown
from rerank.confidence import AnswerCheck, Confidence
from rerank.reranker import PassThrough, Ranked, Reranker, rerank
from retrieval.products import Products
from retrieval.retriever import Recall, Retriever
from retrieval.text import TextTemplate
from shortlist.bundle import Bundle
from shortlist.living.state import Living

BOTH_SOURCES = ("dense", "lexical")

Filters = Sequence[Any]
"""As ``pyarrow.parquet.filters_to_expression`` takes them: tuples are ANDed, lists of tuples ORed."""

EncodeQueries = Callable[[Sequence[str]], FloatMatrix]
"""Query texts -> float32 [n, d] of unit length."""


class QueryTower(Protocol):
    """What the retriever needs of an encoder."""

    def encode_queries(self, texts: Sequence[str]) -> FloatMatrix:
        """Return unit vectors, float32 [n, d]."""


@dataclass(frozen=True, slots=True)
class CallableTower:
    """A caller's own function as a query tower; its output is checked like everybody's.

    Attributes:
        function: Texts -> vectors.
        dim: Dimension of the index.
    """

    function: EncodeQueries
    dim: int

    def encode_queries(self, texts: Sequence[str]) -> FloatMatrix:
        """Return what the function returns, checked for count, shape, finiteness and unit length."""
        vectors = check_vectors(self.function(texts), dim=self.dim, names=list(texts))
        if len(vectors) != len(texts):
            raise VectorError(f"expected a vector for each of {len(texts)} queries, got {len(vectors)} from encoder=")
        return vectors


@dataclass(frozen=True, slots=True)
class Ranking:
    """One query's final order before products are looked up.

    Attributes:
        ranked: Best first.
        timings_ms: Milliseconds per stage.
        degraded: Stages skipped for the deadline.
        check: Whether there is a good match; ``None`` where nothing was learned about that, or one source was asked.
    """

    ranked: tuple[Ranked, ...]
    timings_ms: dict[str, float]
    degraded: tuple[str, ...] = ()
    check: AnswerCheck | None = None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Generation:
    """One loaded version. Immutable; safe to share between threads.

    Nothing in it refers back to it, so its memory and its mapped files are returned when the last call that took it
    ends. Models may be shared with other generations of the same fingerprint.

    Attributes:
        name: The version's name, and ``+SEQ`` when records of the journal were applied on top, up to that one.
        bundle: Where it was loaded from.
        template: How its products become text.
        products: Fields kept for display and filters.
        vectors: The products' vectors, memory-mapped.
        retriever: First stage.
        reranker: Second stage; ``PassThrough`` when the bundle has none.
        tower: Query tower; ``None`` when queries come as vectors.
        pair_ms: What the reranker takes for one pair here, milliseconds; 0 when it weighs nothing.
        living: What it takes to apply further records of the journal.
        confidence: What was learned of how far the reranker's scores and whole answers can be trusted.
    """

    name: str
    bundle: Bundle
    template: TextTemplate
    products: Products
    vectors: Vectors
    retriever: Retriever
    reranker: Reranker
    tower: QueryTower | None
    pair_ms: float
    living: Living
    confidence: Confidence = field(default_factory=Confidence)

    def observed(self, observe: Observe) -> Self:
        """Return the same generation, which tells ``observe`` of every dense search."""
        return replace(self, retriever=self.retriever.observed(observe))

    @property
    def version(self) -> str:
        """Name of the bundle version below, whatever the journal has brought on top."""
        return self.bundle.manifest.version

    @property
    def alive(self) -> BoolVector | None:
        """Rows whose products are there, bool [n]; ``None`` when all are."""
        there = self.products.there
        if len(there) == self.products.count:
            return None
        alive = np.zeros(self.products.count, dtype=np.bool_)
        alive[there] = True
        return alive

    def eligible(self, filters: Filters | None) -> BoolVector | None:
        """Say which rows the filters let through, bool [n]; ``None`` means all, since nothing was asked.

        Raises:
            InvalidQuery: If they cannot be applied.
        """
        return self.products.eligible(filters) if filters is not None else None

    def rank(
        self,
        texts: Sequence[str],
        *,
        recall_depth: int,
        rerank_depth: int,
        sources: Sequence[str] = BOTH_SOURCES,
        eligible: BoolVector | None = None,
        reranking: bool = True,
        affordable: Callable[[int], bool] | None = None,
    ) -> list[Ranking]:
        """Recall, fuse and, when there is time, rerank queries; they are encoded and searched as one batch.

        Args:
            texts: Normalised queries.
            recall_depth: Candidates kept after the first fusion.
            rerank_depth: How many of them the cross-encoder sees.
            sources: Which sources are asked.
            eligible: Rows that may be returned; ``None`` means all.
            reranking: Whether the second stage runs at all.
            affordable: Says whether reranking so many candidates would keep the deadline; ``None`` means no deadline.

        Returns:
            One ranking per query, in their order.
        """
        recalls = self.retriever.retrieve(texts, depth=recall_depth, sources=sources, eligible=eligible)
        rankings = [
            self._finish(text, recall, rerank_depth, reranking=reranking, affordable=affordable)
            for text, recall in zip(texts, recalls, strict=True)
        ]
        if set(sources) != set(BOTH_SOURCES):  # what was learned was learned of whole answers
            return rankings
        return [self._checked(text, ranking) for text, ranking in zip(texts, rankings, strict=True)]

    def _finish(
        self,
        text: str,
        recall: Recall,
        depth: int,
        *,
        reranking: bool,
        affordable: Callable[[int], bool] | None,
    ) -> Ranking:
        second = self.reranker if reranking else PassThrough()
        seen = min(depth, len(recall.candidates))
        degraded: tuple[str, ...] = ()
        if second.weight > 0 and affordable is not None and not affordable(seen):
            second, degraded = PassThrough(), ("rerank",)
        start = time.perf_counter()
        texts = self.texts(recall, seen) if second.weight > 0 else [""] * seen
        ranked = rerank(text, recall.candidates, texts=texts, reranker=second, depth=depth)
        timings = dict(recall.timings_ms)
        if second.weight > 0:
            timings["rerank"] = (time.perf_counter() - start) * 1000
        return Ranking(tuple(self.confidence.with_probabilities(ranked)), timings, degraded)

    def _checked(self, text: str, ranking: Ranking) -> Ranking:
        """Say of an answer whether there is a good match among its first hits."""
        if self.confidence.abstention is None:
            return ranking
        start = time.perf_counter()
        check = self.confidence.check(text, self.shown(ranking))
        timings = {**ranking.timings_ms, "check": (time.perf_counter() - start) * 1000}
        return replace(ranking, timings_ms=timings, check=check)

    def shown(self, ranking: Ranking) -> list[Shown]:
        """Return the first hits as `rerank.answer` looks at them."""
        first = ranking.ranked[:LOOKED_AT]
        return [Shown(found.stages, self.template.render(self.products.get(found.row))) for found in first]

    def texts(self, recall: Recall, count: int) -> list[str]:
        """Return the texts of the first ``count`` candidates, as the cross-encoder reads them."""
        return [self.template.render(self.products.get(candidate.row)) for candidate in recall.candidates[:count]]


def require_tower(generation: Generation) -> None:
    """Refuse a text query when nothing can encode it.

    Raises:
        InvalidQuery: Saying what to do instead.
    """
    if generation.tower is None:
        raise InvalidQuery(
            "this bundle was built on brought vectors without an encoder, so a text cannot be searched; "
            "open it with SearchEngine.open(path, encoder=FUNCTION)"
        )
