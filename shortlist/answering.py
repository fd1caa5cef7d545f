"""Between a public call and the generation that answers: what was asked, checked; what was ranked, with products."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rerank.deadline import Deadline
from retrieval.records import Hit, SearchResult
from retrieval.text import normalise_query
from shortlist.asked import panics_refused, require_numbers, require_switch
from shortlist.generation import Filters, Generation, Ranking, require_tower

DEFAULT_DEPTH = 100
"""Candidates handed to the reranker when the caller does not say; the usual depth of published comparisons."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What shapes an answer, the generation aside.

    Attributes:
        text: The query as it is searched.
        respelt: Whether words of it were corrected.
        k: Hits wanted.
        depth: Candidates for the reranker.
        filters: As given.
        rerank: Whether the reranker may run.
    """

    text: str
    respelt: bool
    k: int
    depth: int
    filters: Filters | None
    rerank: bool


def require_shape(generation: Generation, k: int, depth: int | None, *, rerank: bool) -> None:
    """Refuse what no query could be asked with."""
    require_numbers(k, depth)
    require_switch("rerank", rerank)
    require_tower(generation)


def as_asked(
    generation: Generation,
    query: str,
    k: int,
    depth: int | None,
    filters: Filters | None,
    *,
    rerank: bool,
    spelling: bool,
) -> Asked:
    """Check what was asked, the filters aside, and return it as it will be searched."""
    require_shape(generation, k, depth, rerank=rerank)
    require_switch("spelling", spelling)
    typed = normalise_query(query)
    text = generation.reading(typed, spelling=spelling)
    return Asked(text, text != typed, k, depth_of(k, depth), filters, rerank)


def rank(
    generation: Generation, texts: Sequence[str], asked: Asked, *, deadline: Deadline | None = None
) -> list[Ranking]:
    """Rank texts, all of them as ``asked`` says."""
    eligible = generation.eligible(asked.filters)
    with panics_refused():
        return generation.rank(
            texts,
            recall_depth=asked.depth,
            rerank_depth=asked.depth,
            eligible=eligible,
            reranking=asked.rerank,
            deadline=deadline,
            k=asked.k,
            kept=asked.k,
        )


def answer(
    generation: Generation, text: str, ranking: Ranking, k: int, start: float, *, share: int = 1, respelt: bool = False
) -> SearchResult:
    """Look up the products of the best ``k``, in the generation that ranked them; ``share`` queries took the time."""
    hits = tuple(
        Hit(
            product_id=ranked.product_id,
            rank=rank,
            score=ranked.score,
            stages=ranked.stages,
            product=generation.products.get(ranked.row),
            probability=ranked.probability,
        )
        for rank, ranked in enumerate(ranking.ranked[:k], start=1)
    )
    return SearchResult(
        query=text,
        respelt=respelt,
        hits=hits,
        generation=generation.name,
        timings_ms=ranking.timings_ms | {"total": (time.perf_counter() - start) * 1000 / share},
        degraded=ranking.degraded,
        warnings=ranking.warnings,
        reranked=ranking.reranked,
        abstained=ranking.check is not None and ranking.check.abstained,
        match_probability=None if ranking.check is None else ranking.check.probability,
    )


def deadline_after(start_s: float, deadline_ms: float | None) -> Deadline | None:
    """Return the moment so many milliseconds after the call began; ``None`` for no deadline."""
    return None if deadline_ms is None else Deadline.after(start_s, deadline_ms)


def depth_of(k: int, depth: int | None) -> int:
    """Return how many candidates the reranker is handed when so many hits are wanted."""
    return max(DEFAULT_DEPTH, k) if depth is None else depth
