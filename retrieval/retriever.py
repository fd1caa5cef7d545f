"""The first stage: query texts or vectors in, one fused list of candidates per query out.

Each source recalls ``max(depth, fusion.source_depth)`` products and the fusion cuts their union to ``depth``. So the
first ten are the same ten at any depth up to ``source_depth``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np

from indexing.errors import InvalidQuery
from indexing.observed import Observe, ObservedIndex
from indexing.types import BoolVector, FloatMatrix, FloatVector, IntVector, VectorIndex
from retrieval.config import FusionConfig
from retrieval.fusion import Ranked, fuse, source_weights
from retrieval.lexical import Bm25
from retrieval.products import Products
from retrieval.records import Candidate

DENSE, LEXICAL = "dense", "lexical"


class QueryEncoder(Protocol):
    """What the retriever needs of a dual encoder."""

    def encode_queries(self, texts: Sequence[str]) -> FloatMatrix:
        """Return the unit vectors of query texts, float32 [q, d], in their order."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What the first stage found for one query.

    Attributes:
        candidates: Best first, ranks from 1; each holds the score of every source that recalled it, and only those.
        timings_ms: Milliseconds of the stages that ran: ``encode``, ``ann``, ``lexical``, ``fusion``. Encoding and
            dense search run once for a whole batch; each query is given its equal share of them.
    """

    candidates: tuple[Candidate, ...]
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Trace:
    """How the first stage comes to the candidates of one query: everything before the cut.

    Attributes:
        vector: The query's vector, float32 [d]; ``None`` when the dense source is not asked.
        lists: What every source that is asked returns: rows and scores, best first.
        source_depth: How many products each of them is asked for.
        fused: Every product that a source returns, best first. The candidates of an answer are the first ``depth``.
    """

    vector: FloatVector | None
    lists: Mapping[str, Ranked]
    source_depth: int
    fused: tuple[Candidate, ...]


class Retriever:
    """The sources of one index and how they are fused; safe to use from several threads when the encoder is."""

    def __init__(
        self,
        encoder: QueryEncoder | None,
        dense: VectorIndex | None,
        lexical: Bm25 | None,
        products: Products,
        fusion: FusionConfig,
    ) -> None:
        """Put the parts together.

        Args:
            encoder: Turns query texts into vectors of the dense index; without one, queries bring their own.
            dense: Index over the products' vectors, ties settled by ``products.tie_rank``; ``None`` for none.
            lexical: Index over the products' words; ``None`` for none.
            products: Gives rows their product ids and settles ties.
            fusion: Method, weights, and the least depth of each source.

        Raises:
            ValueError: If an index has another number of rows than there are products.
        """
        for name, source in ((DENSE, dense), (LEXICAL, lexical)):
            if source is not None and source.count != products.count:
                raise ValueError(f"the {name} index has {source.count} rows for {products.count} products")
        self._encoder = encoder
        self._dense = dense
        self._lexical = lexical
        self._products = products
        self._fusion = fusion

    @property
    def encoder(self) -> QueryEncoder | None:
        """What encodes query texts; ``None`` when queries bring their vectors."""
        return self._encoder

    @property
    def dense(self) -> VectorIndex | None:
        """The dense index; ``None`` when there is none."""
        return self._dense

    def using(
        self,
        *,
        encoder: QueryEncoder | None = None,
        dense: VectorIndex | None = None,
        lexical: Bm25 | None = None,
        products: Products | None = None,
    ) -> "Retriever":
        """Return the same first stage with another encoder, other indexes or other products; ``None`` keeps a part.

        Raises:
            ValueError: If an index has another number of rows than there are products.
        """
        return Retriever(
            encoder=self._encoder if encoder is None else encoder,
            dense=self._dense if dense is None else dense,
            lexical=self._lexical if lexical is None else lexical,
            products=self._products if products is None else products,
            fusion=self._fusion,
        )

    def retrieve(
        self,
        texts: Sequence[str],
        *,
        depth: int,
        kept: int | None = None,
        sources: Sequence[str] | None = None,
        eligible: BoolVector | None = None,
    ) -> list[Recall]:
        """Recall candidates for query texts.

        Args:
            texts: Normalised queries.
            depth: Candidates wanted per query, at least 1.
            kept: How many of them are returned, the first ones; ``None`` means all.
            sources: Of ``dense`` and ``lexical``; ``None`` means all that this index has. One source alone is not
                fused: the candidates carry its own scores, and its weight does not matter. Of several, those of
                weight 0 are not asked.
            eligible: Rows that may be recalled, bool [n]; ``None`` means all.

        Returns:
            One `Recall` per text, in order. Fewer than ``depth`` candidates when the sources recall fewer products.

        Raises:
            InvalidQuery: If a source is not known or this index does not have it.
            ValueError: If ``depth`` is below 1.
        """
        asked = self._asked(sources, self._available(encoded=self._encoder is not None))
        vectors, encode_ms = None, 0.0
        if DENSE in asked and self._encoder is not None and texts:
            start = perf_counter()
            vectors = self._encoder.encode_queries(texts)
            encode_ms = _share(start, len(texts))
        recalls = self._recall(asked, vectors, texts, depth=depth, kept=kept or depth, eligible=eligible)
        if vectors is not None:
            return [Recall(recall.candidates, {"encode": encode_ms, **recall.timings_ms}) for recall in recalls]
        return recalls

    def retrieve_vectors(
        self,
        vectors: FloatMatrix,
        *,
        depth: int,
        texts: Sequence[str] | None = None,
        eligible: BoolVector | None = None,
    ) -> list[Recall]:
        """Recall candidates for query vectors: products like a product, or queries encoded elsewhere.

        Args:
            vectors: float32 [q, d]; of unit length when scores are to be cosines.
            depth: Candidates wanted per query, at least 1.
            texts: The queries' texts, q of them, for the lexical source; ``None`` means dense only.
            eligible: As for `retrieve`.

        Raises:
            InvalidQuery: If this index has no vectors.
            VectorError: If the vectors have another shape or dtype, or are not finite.
            ValueError: If ``depth`` is below 1, or ``texts`` are not as many as ``vectors``.
        """
        if texts is not None and len(texts) != len(vectors):
            raise ValueError(f"expected a text for each of the {len(vectors)} vectors, got {len(texts)}")
        available = self._available(encoded=True)
        asked = self._asked([DENSE] if texts is None else [DENSE, *(available & {LEXICAL})], available)
        return self._recall(asked, vectors, texts or [""] * len(vectors), depth=depth, kept=depth, eligible=eligible)

    def trace(
        self, text: str, *, depth: int, sources: Sequence[str] | None = None, eligible: BoolVector | None = None
    ) -> Trace:
        """Recall candidates for one query as `retrieve` does, and keep what it throws away.

        Args:
            text: Normalised query.
            depth: As for `retrieve`, whose candidates are the first ``depth`` of ``fused``.
            sources: As for `retrieve`.
            eligible: As for `retrieve`.

        Raises:
            InvalidQuery, ValueError: As `retrieve`.
        """
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        asked = self._asked(sources, self._available(encoded=self._encoder is not None))
        vectors = self._encoder.encode_queries([text]) if DENSE in asked and self._encoder is not None else None
        source_depth = self._source_depth(asked, depth)
        ((lists, _),) = self._lists(asked, vectors, [text], depth=source_depth, eligible=eligible)
        returned = sum(len(rows) for rows, _ in lists.values())
        return Trace(
            vector=None if vectors is None else vectors[0],
            lists=lists,
            source_depth=source_depth,
            fused=self._candidates(lists, max(1, returned)),
        )

    def with_dense(self, dense: VectorIndex) -> "Retriever":
        """Return the same retriever over another dense index, such as an exact one in place of an approximate one.

        Raises:
            ValueError: If it has another number of rows than there are products.
        """
        return self.using(dense=dense)

    def observed(self, observe: Observe) -> "Retriever":
        """Return the same retriever, which tells ``observe`` of every dense search."""
        return self if self._dense is None else self.with_dense(ObservedIndex(self._dense, observe))

    @property
    def lexical(self) -> Bm25 | None:
        """The index over the products' words, if there is one."""
        return self._lexical

    def _available(self, *, encoded: bool) -> set[str]:
        """The sources that can be asked, given whether queries have vectors."""
        usable = {DENSE: self._dense is not None and encoded, LEXICAL: self._lexical is not None}
        return {name for name, there in usable.items() if there}

    def _asked(self, sources: Sequence[str] | None, available: set[str]) -> list[str]:
        """The sources to ask, sorted: those wanted; of several, only those with a weight."""
        wanted = sorted(available if sources is None else set(sources))
        missing = [name for name in wanted if name not in available]
        if missing or not wanted:
            there = " and ".join(sorted(available)) or "no source at all"
            named = repr(missing[0]) if missing else "none"
            raise InvalidQuery(f"expected sources among those that this index can ask ({there}), got {named}")
        weights = source_weights(self._fusion)
        return wanted if len(wanted) == 1 else [name for name in wanted if weights[name] > 0]

    def _recall(
        self,
        asked: Sequence[str],
        vectors: FloatMatrix | None,
        texts: Sequence[str],
        *,
        depth: int,
        kept: int,
        eligible: BoolVector | None,
    ) -> list[Recall]:
        """Ask every source for every query, then fuse."""
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        recalls = []
        source_depth = self._source_depth(asked, depth)
        for lists, timings in self._lists(asked, vectors, texts, depth=source_depth, eligible=eligible):
            start = perf_counter()
            candidates = self._candidates(lists, min(depth, kept))
            recalls.append(Recall(candidates, {**timings, "fusion": _share(start, 1)}))
        return recalls

    def _source_depth(self, asked: Sequence[str], depth: int) -> int:
        return depth if len(asked) == 1 else max(depth, self._fusion.source_depth)

    def _lists(
        self,
        asked: Sequence[str],
        vectors: FloatMatrix | None,
        texts: Sequence[str],
        *,
        depth: int,
        eligible: BoolVector | None,
    ) -> Iterator[tuple[dict[str, Ranked], dict[str, float]]]:
        """Yield what every source returns for each query, at most ``depth`` products, and its milliseconds."""
        if not texts:
            return
        dense, ann_ms = self._ask_dense(vectors if DENSE in asked else None, depth, eligible)
        for place, text in enumerate(texts):
            lists, timings = {}, {}
            if dense is not None:
                lists[DENSE], timings["ann"] = dense[place], ann_ms
            if LEXICAL in asked and self._lexical is not None:
                start = perf_counter()
                tie_rank = self._products.tie_rank
                lists[LEXICAL] = self._lexical.search(text, depth, eligible=eligible, tie_rank=tie_rank)
                timings["lexical"] = _share(start, 1)
            yield lists, timings

    def _ask_dense(
        self, vectors: FloatMatrix | None, depth: int, eligible: BoolVector | None
    ) -> tuple[list[Ranked] | None, float]:
        """Search the dense index once for all queries; empty places are dropped."""
        if vectors is None or self._dense is None:
            return None, 0.0
        start = perf_counter()
        found = self._dense.search(vectors, max(1, min(depth, self._dense.count)), eligible=eligible)
        lists = [(rows[rows >= 0], scores[rows >= 0]) for rows, scores in zip(found.rows, found.scores, strict=True)]
        return lists, _share(start, len(vectors))

    def _candidates(self, lists: Mapping[str, Ranked], depth: int) -> tuple[Candidate, ...]:
        """Fuse the lists of one query and put every source's score beside the fused one."""
        if len(lists) == 1:
            (rows, scores), *_ = lists.values()
            rows, scores = rows[:depth], scores[:depth]
        else:
            rows, scores = fuse(self._fusion, lists, tie_rank=self._products.tie_rank, depth=depth)
        product_ids = self._products.product_id
        sources = scores_of(rows, lists)
        ranked = zip(rows.tolist(), scores.tolist(), sources, strict=True)
        return tuple(
            Candidate(product_id=product_ids(row), row=row, score=score, rank=rank, sources=found)
            for rank, (row, score, found) in enumerate(ranked, start=1)
        )


def scores_of(rows: IntVector, lists: Mapping[str, Ranked]) -> list[dict[str, float]]:
    """Return the score that every source gave to each of these rows (int64 [m]); those that did not return it lack."""
    found: list[dict[str, float]] = [{} for _ in range(len(rows))]
    for name, (returned, scores) in lists.items():
        if not len(returned):
            continue
        order = np.argsort(returned)
        rising = returned[order]
        places = np.minimum(np.searchsorted(rising, rows), len(rising) - 1)
        there = np.flatnonzero(rising[places] == rows)
        for candidate, score in zip(there.tolist(), scores[order[places[there]]].tolist(), strict=True):
            found[candidate][name] = score
    return found


def _share(start: float, queries: int) -> float:
    """Milliseconds since ``start`` for each of so many queries."""
    return (perf_counter() - start) * 1000 / queries
