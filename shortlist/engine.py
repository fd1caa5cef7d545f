"""The online API: open a bundle, ask it queries, get answers that say where they came from and what they cost."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from indexing.forks import is_inherited
from rerank.reranker import PassThrough, Ranked
from retrieval.records import Product, SearchResult
from shortlist.answering import answer, as_asked, deadline_after, depth_of, rank, require_shape
from shortlist.asked import (
    panics_refused,
    require_deadline,
    require_numbers,
    require_product_id,
    require_queries,
    require_switch,
)
from shortlist.bundle import Bundle
from shortlist.caches import AnswerCache, CacheConfig, CacheStates
from shortlist.config import System
from shortlist.generation import EncodeQueries, Filters, Generation, Ranking
from shortlist.opening import Opening, runtime_of
from shortlist.serving import Serving

if TYPE_CHECKING:
    from shortlist.explain import Explanation

CACHED = "cached-digests"
TRUST = ("digests", CACHED)
"""How `SearchEngine.open` may be told to know that files are what they were."""

SOURCES: dict[System, tuple[str, ...]] = {
    System.bm25: ("lexical",),
    System.dense: ("dense",),
    System.hybrid: ("dense", "lexical"),
    System.hybrid_rerank: ("dense", "lexical"),
}


class SearchEngine(Serving):
    """A bundle opened for search. Safe to call from several threads, and only in the process that opened it.

    Every call takes the generation once, first thing, and passes it on: an answer never mixes two. After `close`, every
    call raises `EngineClosed`; in a process forked from the one that opened it, `ForkSafetyError`.

    Example:
        >>> engine = SearchEngine.open("artifacts/shop")  # doctest: +SKIP
        >>> result = engine.search("wireless mouse", k=10, filters=[("price", "<", 50.0)])  # doctest: +SKIP
    """

    def __init__(self, opening: Opening) -> None:
        """Open a bundle; use :meth:`open` instead."""
        super().__init__(opening)
        self._answers = AnswerCache(opening.cache)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        device: str = "auto",
        index_device: str = "cpu",
        threads: int = 0,
        profile: str = "throughput",
        precision: str = "fp32",
        encoder: str | Path | EncodeQueries | None = None,
        rerank: bool = True,
        trust: str = "digests",
        probe: bool = True,
        cache: CacheConfig | None = None,
        joining: bool = True,
    ) -> Self:
        """Open the live version of a bundle, every file verified and its query tower proven, the journal applied.

        Args:
            path: The bundle directory.
            device: Of the models: ``auto``, ``cpu`` or ``cuda``.
            index_device: Of the dense index: ``cpu``, ``cuda`` (through FAISS where it is built for it, else exactly
                through torch), or ``auto`` (``cuda`` where there is one with room for the vectors).
            threads: Threads that one call may use in torch and faiss; 0 leaves it to the profile.
            profile: ``throughput`` lets one call use all cores, which suits batches and a machine of its own.
                ``latency`` gives each call one: callers at once then share the cores instead of waiting for each
                other's threads, and the slowest answers are less slow.
            precision: ``fp32``, ``bf16``, ``int8``, or ``auto`` for what the bundle was built in; the canary must stay
                within the bundle's tolerance.
            encoder: A model folder, or a function from texts to float32 [n, d], in place of the bundle's own query
                tower.
            rerank: Load the reranker if the bundle has one.
            trust: ``digests`` hashes every file, about a second per GiB. ``cached-digests`` takes the digest of a file
                that has not changed since it was hashed here (`shortlist.digest_cache` says what that cannot see).
            probe: Let a process of its own load indexes and products first, so that a file that crashes a native
                loader cannot take this process down. It runs beside the loading of the models.
            cache: What to remember; by default query vectors, and no answers. Whoever serves shoppers, who ask the same
                things, turns answers on: ``CacheConfig(answers=10_000)``.
            joining: Encode queries of concurrent callers together, where opening finds that this moves no vector by
                more than 1e-5. ``False`` gives every answer bit for bit as to a lone caller, whatever the load.

        Raises:
            ArtifactError: Missing, altered, of another format, or built with another encoder; the message says which.
            EnvironmentProblem: The device is not there.
            ForkSafetyError: This process was forked from one that has used models or indexes.
            ValueError: An unknown device, precision, profile or trust.
        """
        if trust not in TRUST:
            raise ValueError(f"trust must be one of {', '.join(TRUST)}, got {trust!r}")
        runtime = runtime_of(
            device=device, index_device=index_device, threads=threads, profile=profile, precision=precision
        )
        opening = Opening(
            root=Path(path),
            runtime=runtime,
            encoder=Path(encoder) if isinstance(encoder, str) else encoder,
            reranking=rerank,
            cached=trust == CACHED,
            probing=probe,
            cache=cache or CacheConfig(),
            joining=joining,
        )
        return cls(opening)

    @property
    def product_count(self) -> int:
        """Number of products that can be found."""
        return len(self._generation.products.there)

    @property
    def bundle(self) -> Bundle:
        """The verified bundle version behind the answers."""
        return self._generation.bundle

    @property
    def has_reranker(self) -> bool:
        """Whether the bundle has a cross-encoder (it may still weigh 0, when it did not win on held-out queries)."""
        return not isinstance(self._generation.reranker, PassThrough)

    @property
    def cache_states(self) -> CacheStates:
        """What the caches hold and how often they had what was asked for."""
        lane = self._generation.lane
        return CacheStates(None if lane is None else lane.state, self._answers.state)

    def product(self, product_id: str) -> Product:
        """Return the display fields of a product.

        Raises:
            KeyError: No such product; with the id, or with what kind of thing came in place of a text.
        """
        products = self._generation.products
        if not isinstance(product_id, str):  # not the thing itself: a number may have more digits than Python prints
            raise KeyError(f"a product_id is a string, got {type(product_id).__name__}")
        if product_id not in products:
            raise KeyError(product_id)
        return products.get(products.row_of(product_id))

    def search(
        self,
        query: str,
        *,
        k: int = 10,
        depth: int | None = None,
        filters: Filters | None = None,
        rerank: bool = True,
        spelling: bool = True,
        deadline_ms: float | None = None,
    ) -> SearchResult:
        """Answer one query.

        Args:
            query: What the shopper typed.
            k: Hits wanted; fewer come back when fewer products are eligible.
            depth: Candidates handed to the reranker, at least ``k``; ``None`` means max(100, k).
            filters: Conditions that every hit fulfils, e.g. ``[("price", "<", 50.0), ("attributes.colour", "==",
                "black")]``; a product without the value fulfils none.
            rerank: Run the reranker when the bundle has one.
            spelling: Correct words that neither the catalogue nor the encoder knows, when the bundle was built with
                ``lexical.spelling=true``; ``query`` and ``respelt`` of the answer say what was searched.
            deadline_ms: Milliseconds after the call by which the answer should be there. The reranker scores
                candidates in the first stage's order while there is time; what it did not get to follows in that order,
                and ``degraded`` says so. 0 skips it for certain.

        Returns:
            Hits best first, from one generation, with the scores of every stage and the milliseconds of each.

        Raises:
            InvalidQuery: Not a string, empty, or a filter that cannot be applied.
            QueryTooLong: Over the character limit.
            ValueError: ``k`` below 1, ``depth`` below ``k``, or a deadline that is negative or not finite.
            TypeError: A number, or ``rerank``, is of another type.
        """
        start = time.perf_counter()
        generation = self._generation
        require_deadline(deadline_ms)
        asked = as_asked(generation, query, k, depth, filters, rerank=rerank, spelling=spelling)
        key = self._answers.key(generation, asked) if deadline_ms != 0 else None
        if (known := self._answers.get(key, start)) is not None:
            return known
        generation = self._watched(generation)
        ranking = rank(generation, [asked.text], asked, deadline=deadline_after(start, deadline_ms))[0]
        found = answer(generation, asked.text, ranking, k, start, respelt=asked.respelt)
        if not ranking.settled:
            self._answers.put(key, found)
        return found

    def search_many(
        self,
        queries: Sequence[str],
        *,
        k: int = 10,
        depth: int | None = None,
        filters: Filters | None = None,
        rerank: bool = True,
        spelling: bool = True,
    ) -> list[SearchResult]:
        """Answer several queries as one batch, in their order.

        Each answer is what :meth:`search` gives, but that a batch may move dense scores by some 1e-7; ``timings_ms``
        are each query's equal share. Answers that are remembered are given again, and the others alone make the batch.

        Raises:
            InvalidQuery, QueryTooLong, ValueError, TypeError: As :meth:`search`, for the first query concerned; none
                is answered then. TypeError also for queries that are no list.
        """
        start = time.perf_counter()
        generation = self._generation
        require_queries(queries)
        if not queries:
            require_shape(generation, k, depth, rerank=rerank)
            generation.eligible(filters)
            return []
        every = [as_asked(generation, query, k, depth, filters, rerank=rerank, spelling=spelling) for query in queries]
        keys = [self._answers.key(generation, asked) for asked in every]
        known = {place: found for place, key in enumerate(keys) if (found := self._answers.get(key)) is not None}
        missing = [place for place in range(len(every)) if place not in known]
        if missing:
            lane = generation.lane
            keeping = len(missing) == 1 or (lane is not None and lane.joining)  # else a query alone has another answer
            generation = self._watched(generation)
            rankings = rank(generation, [every[place].text for place in missing], every[0])
            for place, ranking in zip(missing, rankings, strict=True):
                asked = every[place]
                known[place] = answer(
                    generation, asked.text, ranking, k, start, share=len(missing), respelt=asked.respelt
                )
                if keeping and not ranking.settled:
                    self._answers.put(keys[place], known[place])
        return [known[place] for place in range(len(every))]

    async def asearch(self, query: str, **options: Any) -> SearchResult:  # noqa: ANN401 - the options of search
        """Answer one query without blocking the event loop; takes what :meth:`search` takes.

        It runs in one of the engine's own threads, of which there are few. The time it waits for one counts against
        ``deadline_ms``. Cancelled while it waits, it never runs; later, it runs to its end and nobody gets the answer.
        """
        asked = time.perf_counter()
        deadline_ms = options.get("deadline_ms")
        require_deadline(deadline_ms)

        def search() -> SearchResult:
            waited_ms = (time.perf_counter() - asked) * 1000
            left = {} if deadline_ms is None else {"deadline_ms": max(0.0, deadline_ms - waited_ms)}
            return self.search(query, **options | left)

        call = partial(contextvars.copy_context().run, search)
        return await asyncio.get_running_loop().run_in_executor(self._threads(), call)

    def similar(self, product_id: str, *, k: int = 10, filters: Filters | None = None) -> SearchResult:
        """Return the products whose vectors are nearest to that of ``product_id``, without itself.

        Raises:
            InvalidQuery: No such product, or a filter that cannot be applied.
            ValueError, TypeError: ``k`` is below 1, or no whole number.
        """
        start = time.perf_counter()
        generation = self._generation
        require_numbers(k, None)
        require_product_id(product_id)
        row = generation.products.row_of(product_id)
        vector = generation.vectors.take(np.array([row]))
        eligible = generation.eligible(filters)
        recall = generation.retriever.retrieve_vectors(vector, depth=k + 1, eligible=eligible)[0]
        ranked = tuple(
            Ranked(product_id=found.product_id, row=found.row, score=found.score, stages=dict(found.sources))
            for found in recall.candidates
            if found.row != row
        )
        ranking = Ranking(ranked, dict(recall.timings_ms))
        return answer(generation, f"similar to {product_id}", ranking, k, start)

    def explain(
        self,
        query: str,
        product_id: str,
        *,
        k: int = 10,
        depth: int | None = None,
        filters: Filters | None = None,
        rerank: bool = True,
        spelling: bool = True,
        deadline_ms: float | None = None,
    ) -> "Explanation":
        """Say why a product is, or is not, in the answer that :meth:`search` gives to the same arguments.

        Takes a few answers' time, more where the reranker's words are looked into (``timings_ms`` says how long).

        Args:
            query: What the shopper typed.
            product_id: Any id, that of no product included.
            k: As for :meth:`search`.
            depth: As for :meth:`search`.
            filters: As for :meth:`search`.
            rerank: As for :meth:`search`.
            spelling: As for :meth:`search`.
            deadline_ms: As for :meth:`search`; what follows the ranking is not hurried by it.

        Returns:
            The stage that lost the product, how it fared in each, and the reasons for where it stands.

        Raises:
            InvalidQuery, QueryTooLong, TypeError, ValueError: As :meth:`search`.
            ArtifactError, StorageError: There is no such product, and journal or quarantined rows do not read.
        """
        from shortlist.explain import Question, explain

        start = time.perf_counter()
        generation = self._generation
        require_numbers(k, depth)
        require_switch("rerank", rerank)
        require_switch("spelling", spelling)
        require_deadline(deadline_ms)
        require_product_id(product_id)
        deadline = deadline_after(start, deadline_ms)
        text = generation.reading(query, spelling=spelling)
        question = Question(text, k, depth_of(k, depth), filters, rerank, deadline)
        with panics_refused():
            return explain(generation, question, product_id)

    @property
    def good_grade(self) -> int | None:
        """Smallest grade of a good match, as `Hit.probability` means it; ``None`` when hits have no probabilities."""
        calibration = self._generation.confidence.calibration
        return None if calibration is None else calibration.good

    def run(
        self,
        query: str,
        system: System,
        *,
        depth: int,
        run_depth: int,
        filters: Filters | None = None,
        see: Callable[[Sequence[Ranked]], object] | None = None,
    ) -> tuple[list[tuple[str, float]], float]:
        """Rank one query as ``system`` does, for evaluation: ids and scores only, as deep as asked.

        Args:
            query: Query text.
            system: Which sources are asked and whether the cross-encoder runs.
            depth: Candidates that the cross-encoder sees.
            run_depth: Length of the run; candidates below ``depth`` keep the first-stage order.
            filters: As for :meth:`search`.
            see: Shown the candidates as they were ranked, with the scores of their stages and their probabilities.

        Returns:
            (product_id, score) best first, and the milliseconds it took.
        """
        start = time.perf_counter()
        generation = self._generation
        text = generation.reading(query)
        ranking = generation.rank(
            [text],
            recall_depth=run_depth,
            rerank_depth=depth,
            sources=SOURCES[system],
            eligible=generation.eligible(filters),
            reranking=system is System.hybrid_rerank,
        )[0]
        elapsed_ms = (time.perf_counter() - start) * 1000
        if see is not None:
            see(ranking.ranked)
        return [(ranked.product_id, ranked.score) for ranked in ranking.ranked], elapsed_ms

    def _exchange(self, generation: Generation) -> None:
        """Let another generation answer; what the one before answered is of no more use."""
        super()._exchange(generation)
        self._answers.clear()

    def close(self) -> None:
        """End what watches, refuse further calls, and let go of everything; calls under way still end well."""
        super().close()
        if not is_inherited():
            self._answers.clear()
