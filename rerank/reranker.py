"""The second stage as the engine sees it: candidates in, their final order out."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rerank.config import CrossEncoderConfig, RerankerConfig
from rerank.final import Convex, FinalFusion, LookUp
from rerank.fusion import FloatVector, final_order
from retrieval.config import RuntimeConfig
from retrieval.records import Candidate

TAIL_GAP = 1.0
"""How far below the last reranked candidate the others begin; final scores are sums of standardised ones."""

NOTHING: FloatVector = np.empty(0, dtype=np.float32)
"""Scores of nobody."""


class Reranker(Protocol):
    """Anything that scores texts for a query, with the final fusion that its scores go into."""

    @property
    def fusion(self) -> FinalFusion:
        """What makes final scores of these and the first stage's; where it does not ask, ``score`` is never called."""

    def score(self, query: str, texts: Sequence[str]) -> FloatVector:
        """Return one finite score per text, float32 [n], higher is better, whatever the other texts are."""


class PassThrough:
    """No second stage: the first stage's order stands."""

    fusion: FinalFusion = Convex(0.0)

    def score(self, query: str, texts: Sequence[str]) -> FloatVector:
        """Score every text alike."""
        del query
        return np.zeros(len(texts), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate in its final place.

    Attributes:
        product_id: The product.
        row: Its row in the generation that recalled it.
        score: Final score; higher is better; never rises down the list; comparable within one answer only.
        stages: Score of each stage that saw it: the sources' own, ``fusion``, ``student`` where a cascade has one, and
            ``rerank`` where the cross-encoder did.
        probability: That it is a good match; ``None`` where the cross-encoder did not see it or is not calibrated.
    """

    product_id: str
    row: int
    score: float
    stages: Mapping[str, float]
    probability: float | None = None


def open_reranker(config: RerankerConfig, runtime: RuntimeConfig) -> Reranker:
    """Open the second stage that a configuration asks for.

    Raises:
        ConfigError, ArtifactError: As ``CrossEncoderReranker.open``.
    """
    match config:
        case CrossEncoderConfig():
            from rerank.cross_encoder import CrossEncoderReranker  # torch: only for those who rerank

            return CrossEncoderReranker.open(config, runtime)
        case _:
            return PassThrough()


def rerank(
    query: str,
    candidates: Sequence[Candidate],
    *,
    texts: Sequence[str],
    reranker: Reranker,
    depth: int,
    products: LookUp = list,
) -> list[Ranked]:
    """Order a query's candidates by both stages, every one of the first ``depth`` seen by the reranker.

    The slow and obvious way to what `combine` makes of scores that came in another way. A reranker that has no say in
    the final fusion is not asked: order and scores are the first stage's.

    Args:
        query: Normalised query.
        candidates: Best first, as the retriever returns them.
        texts: Texts of at least the first ``depth`` candidates (or of all, when fewer), in their order; more are
            ignored.
        reranker: Scores the texts.
        depth: How many candidates it sees, at least 1.
        products: Returns the products of the first ``depth`` candidates, for a final fusion that reads them.

    Returns:
        All candidates, best first; empty for none.

    Raises:
        ValueError: If ``depth`` < 1, texts are missing, or the candidates are not best first.
    """
    if len(texts) < (needed := min(depth, len(candidates))):
        raise ValueError(f"reranking {needed} candidates needs as many texts, got {len(texts)}")
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    if not (reranker.fusion.asks and candidates):
        return combine(candidates, NOTHING, NOTHING)
    cross = np.asarray(reranker.score(query, texts[:needed]), dtype=np.float32)
    mix = reranker.fusion.over(query, candidates[:needed], products)
    return combine(candidates, cross, mix.scores(cross))


def combine(candidates: Sequence[Candidate], cross: FloatVector, final: FloatVector) -> list[Ranked]:
    """Order a query's candidates by both stages; see `reorder`.

    Args:
        candidates: Best first, as the retriever returns them.
        cross: Cross-encoder scores of the first m of them, float32 [m]; none leaves the first stage's order and scores.
        final: What the final fusion makes of them, float32 [m].

    Returns:
        All candidates, best first; empty for none.

    Raises:
        ValueError: As `reorder`.
    """
    return reorder(as_ranked(candidates), cross, final, stage="rerank")


def as_ranked(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Return candidates, best first, in the order and with the scores of the first stage."""
    return [
        Ranked(found.product_id, found.row, found.score, {**found.sources, "fusion": found.score})
        for found in candidates
    ]


def as_candidates(ranked: Sequence[Ranked]) -> list[Candidate]:
    """Return what a stage ranked as the candidates of the next, every score so far among their sources."""
    return [
        Candidate(product_id=found.product_id, row=found.row, score=found.score, rank=rank, sources=found.stages)
        for rank, found in enumerate(ranked, start=1)
    ]


def reorder(ranked: Sequence[Ranked], said: FloatVector, final: FloatVector, *, stage: str) -> list[Ranked]:
    """Order what is ranked by a further stage, which has seen the first few.

    Those that it has seen have final scores; equal ones are ordered by product_id. The others, which it has not seen
    for the deadline or because they lie beyond its depth, keep the order so far and follow: their scores are
    shifted down so that the first of them lies at least ``TAIL_GAP`` below the last reranked one. Nothing is guessed
    about them. Pairs are scored in the order so far, so whoever was not seen has less to say for himself than
    all who were; a place further up would be one that no evidence stands for.

    Args:
        ranked: Best first.
        said: The stage's scores of the first m of them, float32 [m]; none changes nothing.
        final: What its final fusion makes of them, float32 [m].
        stage: Its name among their scores.

    Returns:
        All of them, best first; empty for none.

    Raises:
        ValueError: If there are not as many of both scores, or they are not best first.
    """
    _check(ranked)
    if not len(said):
        return list(ranked)
    seen, tail = ranked[: len(said)], ranked[len(said) :]
    order = final_order(final, [found.product_id for found in seen])
    first = [
        replace(seen[i], score=float(final[i]), stages={**seen[i].stages, stage: float(said[i])})
        for i in order.tolist()
    ]
    shift = first[-1].score - TAIL_GAP - seen[-1].score
    return first + [replace(found, score=found.score + shift) for found in tail]


def _check(ranked: Sequence[Ranked]) -> None:
    for above, below in itertools.pairwise(ranked):
        if below.score > above.score:
            raise ValueError(
                f"candidates must come best first: {below.product_id!r} at {below.score} follows "
                f"{above.product_id!r} at {above.score}"
            )
