"""Everything that answers a query, loaded from one bundle version: what an answer must never mix across versions."""

import itertools
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
from rerank.cascade import RERANK_STAGE, STUDENT_STAGE, Student
from rerank.confidence import AnswerCheck, Confidence
from rerank.cost import BatchCost
from rerank.deadline import Deadline, Seen, score_all, score_until
from rerank.final import Mix
from rerank.reranker import NOTHING, PassThrough, Ranked, Reranker, as_candidates, as_ranked, reorder
from retrieval.products import Products
from retrieval.query_lane import QueryLane
from retrieval.records import Candidate
from retrieval.retriever import Recall, Retriever
from retrieval.spelling import Spelling
from retrieval.text import TextTemplate, normalise_query
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
        degraded: Stages skipped or cut short for the deadline.
        reranked: How many candidates the cross-encoder scored, and how many it was to score.
        settled: Whether it was stopped because nothing could change the first places any more.
        check: Whether there is a good match; ``None`` where nothing was learned about that, or one source was asked.
    """

    ranked: tuple[Ranked, ...]
    timings_ms: dict[str, float]
    degraded: tuple[str, ...] = ()
    check: AnswerCheck | None = None
    reranked: tuple[int, int] = (0, 0)
    settled: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a caller should know, in words."""
        if not self.degraded:
            return ()
        scored, of = self.reranked
        return (f"the deadline came before the reranker had scored all candidates: {scored} of {of}",)


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
        cost: What the reranker's batches take here; goes with the reranker.
        living: What it takes to apply further records of the journal.
        student: Sees the candidates before the reranker, which then sees those that it passes on; ``None`` for none.
        confidence: What was learned of how far the reranker's scores and whole answers can be trusted.
        spelling: Corrects queries by the words of the retriever's lexical index; ``None`` leaves them as they are.
        token: A number that no other generation of this process has, whatever its name.
    """

    name: str
    bundle: Bundle
    template: TextTemplate
    products: Products
    vectors: Vectors
    retriever: Retriever
    reranker: Reranker
    tower: QueryTower | None
    cost: BatchCost
    living: Living
    student: Student | None = None
    confidence: Confidence = field(default_factory=Confidence)
    spelling: Spelling | None = None
    token: int = field(init=False, default_factory=itertools.count(1).__next__)  # drawn anew by `replace`

    def observed(self, observe: Observe) -> Self:
        """Return the same generation, which tells ``observe`` of every dense search."""
        return replace(self, retriever=self.retriever.observed(observe))

    @property
    def lane(self) -> QueryLane | None:
        """The way of its queries to the tower; ``None`` where each caller goes by itself."""
        encoder = self.retriever.encoder
        return encoder if isinstance(encoder, QueryLane) else None

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

    def reading(self, query: object, *, spelling: bool = True) -> str:
        """Return a query as it is searched: normalised, and its unknown words as the catalogue writes them.

        Args:
            query: What the shopper typed.
            spelling: Correct words, where the version was built to.

        Raises:
            InvalidQuery, QueryTooLong: As `retrieval.text.normalise_query`.
        """
        text = normalise_query(query)
        return self.spelling.corrected(text) if spelling and self.spelling is not None else text

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
        deadline: Deadline | None = None,
        k: int | None = None,
        kept: int | None = None,
    ) -> list[Ranking]:
        """Recall, fuse and, when there is time, rerank queries; they are encoded and searched as one batch.

        Args:
            texts: Normalised queries.
            recall_depth: Candidates kept after the first fusion.
            rerank_depth: How many of them the second stage sees: the student where there is one, else the reranker.
            sources: Which sources are asked.
            eligible: Rows that may be returned; ``None`` means all.
            reranking: Whether the second stage runs at all.
            deadline: When the answer should be there; ``None`` means whenever it is.
            k: First places that matter: the second stage may stop before the deadline when it cannot change those.
                ``None`` means all.
            kept: How many of the ranked are needed; ``None`` means all. No more are made where that saves time.

        Returns:
            One ranking per query, in their order.
        """
        second: Reranker = self.reranker if reranking else PassThrough()
        # The first k are the same whatever follows, so nobody needs the rest where no second stage does.
        kept = recall_depth if second.fusion.asks or kept is None else min(max(kept, LOOKED_AT), recall_depth)
        recalls = self.retriever.retrieve(texts, depth=recall_depth, kept=kept, sources=sources, eligible=eligible)
        rankings = [
            self._finish(text, recall, second, rerank_depth, deadline=deadline, k=k or recall_depth)
            for text, recall in zip(texts, recalls, strict=True)
        ]
        if set(sources) != set(BOTH_SOURCES):  # what was learned was learned of whole answers
            return rankings
        return [self._checked(text, ranking) for text, ranking in zip(texts, rankings, strict=True)]

    def _finish(
        self, text: str, recall: Recall, second: Reranker, depth: int, *, deadline: Deadline | None, k: int
    ) -> Ranking:
        ranked, timings = as_ranked(recall.candidates), dict(recall.timings_ms)
        if not (second.fusion.asks and ranked):
            return Ranking(tuple(ranked), timings)
        passed = min(depth, len(ranked))
        if self.student is not None and self.student.passes < passed:
            front, fronts, count, passed = self.student.reranker, self.student.cost, passed, self.student.passes
            start = time.perf_counter()
            seen, ranked = self._scored(
                text, ranked, front, fronts, stage=STUDENT_STAGE, count=count, deadline=deadline, k=passed
            )
            if seen.batches:
                timings[STUDENT_STAGE] = (time.perf_counter() - start) * 1000
            if seen.is_cut:  # what it did not see was not sieved
                return Ranking(tuple(ranked), timings, degraded=("rerank",), reranked=(0, passed))
        start = time.perf_counter()
        seen, ranked = self._scored(
            text, ranked, second, self.cost, stage=RERANK_STAGE, count=passed, deadline=deadline, k=k
        )
        if seen.batches:
            timings[RERANK_STAGE] = (time.perf_counter() - start) * 1000
        return Ranking(
            tuple(self.confidence.with_probabilities(ranked)),
            timings,
            degraded=("rerank",) if seen.is_cut else (),
            reranked=(len(seen.scores), seen.of),
            settled=seen.settled,
        )

    def _scored(
        self,
        text: str,
        ranked: Sequence[Ranked],
        reranker: Reranker,
        cost: BatchCost,
        *,
        stage: str,
        count: int,
        deadline: Deadline | None,
        k: int,
    ) -> tuple[Seen, list[Ranked]]:
        """Let a cross-encoder see the first ``count`` of what is ranked, and order them anew."""
        mix = self.mix(text, as_candidates(ranked[:count]), reranker)
        if deadline is None:
            seen = score_all(reranker, cost, text, self._texts(ranked[:count]))
        else:
            seen = score_until(
                deadline,
                reranker,
                cost,
                text,
                lambda first, end: self._texts(ranked[first:end]),
                mix=mix,
                k=min(k, count),
            )
        final = mix.scores(seen.scores) if len(seen.scores) else NOTHING
        return seen, reorder(ranked, seen.scores, final, stage=stage)

    def _checked(self, text: str, ranking: Ranking) -> Ranking:
        """Say of an answer whether there is a good match among its first hits."""
        if self.confidence.abstention is None:
            return ranking
        start = time.perf_counter()
        check = self.confidence.check(text, self.shown(ranking), self.products.brands)
        timings = {**ranking.timings_ms, "check": (time.perf_counter() - start) * 1000}
        return replace(ranking, timings_ms=timings, check=check)

    def shown(self, ranking: Ranking) -> list[Shown]:
        """Return the first hits as `rerank.answer` looks at them."""
        first = [(found.stages, self.products.get(found.row)) for found in ranking.ranked[:LOOKED_AT]]
        return [Shown(stages, self.template.render(product), product.brand) for stages, product in first]

    def mix(self, text: str, candidates: Sequence[Candidate], second: Reranker) -> Mix:
        """Return a query's candidates, best first, as the final fusion of a second stage takes them up."""
        products = self.products
        return second.fusion.over(text, candidates, lambda: [products.get(candidate.row) for candidate in candidates])

    def texts(self, recall: Recall, count: int) -> list[str]:
        """Return the texts of the first ``count`` candidates, as the cross-encoder reads them."""
        return self._texts(recall.candidates[:count])

    def _texts(self, found: Sequence[Candidate | Ranked]) -> list[str]:
        return [self.template.render(self.products.get(one.row)) for one in found]


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
