"""A product's way through the stages that answer a query, and the one that lost it.

Nothing here ranks by rules of its own: the answer is `Generation.rank`'s, what lies before its cuts is
`Retriever.trace`'s, and what would have been otherwise is the same generation asked again with one thing changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from indexing.exact import ExactIndex, place_of
from indexing.types import BoolVector, FloatVector
from rerank.cascade import RERANK_STAGE, STUDENT_STAGE
from rerank.deadline import Deadline
from rerank.final import Mix
from rerank.reranker import NOTHING, PassThrough, Ranked, Reranker, as_candidates, as_ranked, reorder
from retrieval.filters import Condition
from retrieval.retriever import DENSE, LEXICAL, Trace
from shortlist.explain.records import Otherwise, Outcome, Stage, Verdict
from shortlist.generation import BOTH_SOURCES, Filters, Generation, Ranking

RANKING = (DENSE, LEXICAL, "fusion", "rerank", "answer")
"""The stages that rank, in order; before them come ``catalogue`` and ``filter``."""

SKIPPED = "skipped to keep the deadline"

NO_WORD = "no query word in its text"


@dataclass(frozen=True, slots=True)
class Question:
    """One call of ``search``, to be explained.

    Attributes:
        text: Normalised query.
        k: Hits wanted.
        depth: Candidates handed to the reranker.
        filters: As given to ``search``.
        rerank: Whether the reranker may run.
        deadline: As for `Generation.rank`.
    """

    text: str
    k: int
    depth: int
    filters: Filters | None
    rerank: bool
    deadline: Deadline | None

    def ask(self, generation: Generation) -> Ranking:
        """Return what ``search`` ranks, best first."""
        return self._ask(generation, generation.eligible(self.filters))

    def ask_exactly(self, generation: Generation) -> Ranking:
        """Return what ``search`` would rank if the dense index were exact."""
        exact = ExactIndex(generation.vectors, tie_rank=generation.products.tie_rank)
        retriever = generation.retriever.with_dense(exact)
        return self._ask(replace(generation, retriever=retriever), self.rivals(generation))

    def trace(self, generation: Generation) -> Trace:
        """Return how the first stage comes to the candidates that `ask` ranks."""
        eligible = generation.eligible(self.filters)
        return generation.retriever.trace(self.text, depth=self.depth, sources=BOTH_SOURCES, eligible=eligible)

    def rivals(self, generation: Generation) -> BoolVector:
        """Return which rows compete: those of products that are there and that the filter lets through, bool [n]."""
        rivals = np.ones(generation.products.count, dtype=np.bool_)
        for allowed in (generation.alive, generation.eligible(self.filters)):
            if allowed is not None:
                rivals &= allowed
        return rivals

    def _ask(self, generation: Generation, eligible: BoolVector | None) -> Ranking:
        return generation.rank(
            [self.text],
            recall_depth=self.depth,
            rerank_depth=self.depth,
            eligible=eligible,
            reranking=self.rerank,
            deadline=self.deadline,
            k=self.k,
        )[0]


@dataclass(frozen=True, slots=True)
class Walk:
    """How one product went through the stages.

    Attributes:
        verdict: What became of it.
        stages: All stages in order.
        ranking: The answer's candidates after the last stage, best first.
        rank: The product's place among them, from 1; ``None`` when it is none of them.
        trace: What the first stage did; ``None`` for a product that the filter stopped.
        dense: Score of every row, float32 [n]; ``None`` when the dense source is not asked.
        conditions: The filter held against the product.
        otherwise: What would have become of it without the stage that lost it, where that can be told.
        parts: What adds up to its final score, by name; empty where the cross-encoder did not see it.
    """

    verdict: Verdict
    stages: tuple[Stage, ...]
    ranking: Ranking
    rank: int | None
    trace: Trace | None = None
    dense: FloatVector | None = None
    conditions: tuple[tuple[Condition, ...], ...] = ()
    otherwise: Otherwise | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


def walk(generation: Generation, question: Question, row: int) -> Walk:
    """Follow the product of a row through the answer to a question.

    Raises:
        InvalidQuery: A filter that cannot be applied.
    """
    rivals = question.rivals(generation)
    conditions = tuple(tuple(group) for group in generation.products.conditions(question.filters, row))
    ranking = question.ask(generation)
    if not rivals[row]:
        return _filtered(generation, question, row, ranking, conditions)
    trace = question.trace(generation)
    dense = ExactIndex(generation.vectors).scores(trace.vector) if trace.vector is not None else None
    rank = _rank_in(ranking, row)
    stages = (
        Stage("catalogue", Outcome.passed, of=len(generation.products.there)),
        Stage("filter", Outcome.passed if conditions else Outcome.skipped, note="" if conditions else "none asked for"),
        _dense_stage(generation, trace, dense, row, rivals),
        _lexical_stage(generation, question, trace, row, rivals),
        _fusion_stage(trace, question.depth, row),
        _rerank_stage(generation, question, ranking, row),
        _answer_stage(ranking, question.k, rank),
    )
    verdict, otherwise = _verdict(generation, question, stages, row, ranking, rank)
    parts = _parts(generation, question, trace, ranking, row)
    return Walk(verdict, stages, ranking, rank, trace, dense, conditions, otherwise, parts)


# --- stages -----------------------------------------------------------------------------------------------------------


def _filtered(
    generation: Generation,
    question: Question,
    row: int,
    ranking: Ranking,
    conditions: tuple[tuple[Condition, ...], ...],
) -> Walk:
    unfiltered = replace(question, filters=None).ask(generation)
    return Walk(
        verdict=Verdict.filtered,
        stages=(
            Stage("catalogue", Outcome.passed, of=len(generation.products.there)),
            Stage("filter", Outcome.lost),
            *(Stage(name, Outcome.not_reached) for name in RANKING),
        ),
        ranking=ranking,
        rank=None,
        conditions=conditions,
        otherwise=Otherwise("without the filter", _rank_in(unfiltered, row)),
    )


def _dense_stage(
    generation: Generation, trace: Trace, dense: FloatVector | None, row: int, rivals: BoolVector
) -> Stage:
    """Say where a row stands among all exact scores, and whether the index returned it."""
    if dense is None:
        return Stage(DENSE, Outcome.skipped, note="not asked: weighs 0 in the fusion")
    rank, of = place_of(row, dense, tie_rank=generation.products.tie_rank, eligible=rivals)
    rows, scores = trace.lists[DENSE]
    outcome = Outcome.missed if rank <= trace.source_depth else Outcome.lost
    if row in rows:
        outcome = Outcome.passed
    return Stage(
        DENSE,
        outcome,
        rank=rank,
        of=of,
        places=trace.source_depth if trace.source_depth < of else None,
        score=float(dense[row]),
        to_beat=float(scores[-1]) if len(scores) == trace.source_depth < of else None,
        note="the index did not return it" if outcome is Outcome.missed else "",
    )


def _lexical_stage(generation: Generation, question: Question, trace: Trace, row: int, rivals: BoolVector) -> Stage:
    """Say where a row stands among the products that share a word with the query."""
    index = generation.retriever.lexical
    if LEXICAL not in trace.lists or index is None:
        return Stage(LEXICAL, Outcome.skipped, note="not asked: weighs 0 in the fusion")
    every = index.scores(question.text)
    matching = (every > 0) & rivals
    if not matching[row]:
        return Stage(LEXICAL, Outcome.lost, of=int(np.count_nonzero(matching)), note=NO_WORD)
    rank, of = place_of(row, every, tie_rank=generation.products.tie_rank, eligible=matching)
    rows, scores = trace.lists[LEXICAL]
    return Stage(
        LEXICAL,
        Outcome.passed if row in rows else Outcome.lost,
        rank=rank,
        of=of,
        places=trace.source_depth if trace.source_depth < of else None,
        score=float(every[row]),
        to_beat=float(scores[-1]) if len(scores) == trace.source_depth < of else None,
    )


def _fusion_stage(trace: Trace, depth: int, row: int) -> Stage:
    """Say where a row stands in the fused order, before it is cut to the candidates."""
    of = len(trace.fused)
    places, to_beat = (depth, trace.fused[depth - 1].score) if depth < of else (None, None)
    note = "one source: its own order" if len(trace.lists) == 1 else ""
    for candidate in trace.fused:
        if candidate.row == row:
            outcome = Outcome.passed if candidate.rank <= depth else Outcome.lost
            return Stage("fusion", outcome, candidate.rank, of, places, candidate.score, to_beat, note)
    return Stage("fusion", Outcome.not_reached, of=of, places=places, to_beat=to_beat)


def _rerank_stage(generation: Generation, question: Question, ranking: Ranking, row: int) -> Stage:
    """Say what the cross-encoder alone thinks of a product, among the candidates or beside them."""
    reranker = generation.reranker
    if isinstance(reranker, PassThrough):
        return Stage("rerank", Outcome.skipped, note="no reranker loaded")
    if not reranker.fusion.asks:
        return Stage("rerank", Outcome.skipped, note="weighs 0 in the final fusion")
    if not question.rerank:
        return Stage("rerank", Outcome.skipped, note="not asked for")
    scores = {ranked.row: ranked.stages["rerank"] for ranked in ranking.ranked if "rerank" in ranked.stages}
    own = scores.pop(row, None)
    others = list(scores.values())
    if own is not None:
        return Stage("rerank", Outcome.passed, _rank_among(own, others), len(others) + 1, score=own)
    if ranking.degraded or (ranking.settled and any(ranked.row == row for ranked in ranking.ranked)):
        return Stage("rerank", Outcome.skipped, note=_unseen(ranking))
    text = generation.template.render(generation.products.get(row))
    score = float(reranker.score(question.text, [text])[0])
    rank = _rank_among(score, others)
    was_sieved = any(STUDENT_STAGE in ranked.stages for ranked in ranking.ranked if ranked.row == row)
    return Stage(
        "rerank",
        Outcome.not_reached,
        rank,
        len(others) + 1,
        score=score,
        note="the student did not pass it on" if was_sieved else "by this score alone, had it come so far",
    )


def _parts(generation: Generation, question: Question, trace: Trace, ranking: Ranking, row: int) -> Mapping[str, float]:
    """Take the final score of a product apart, as the final fusion puts it together."""
    ranked = as_ranked(trace.fused[: question.depth])
    student, count = generation.student, len(ranked)
    if student is not None and student.passes < count:
        mix, said = _mix(generation, question, ranked, student.reranker, ranking, STUDENT_STAGE)
        if mix is None or not len(said):
            return {}
        ranked, count = reorder(ranked, said, mix.scores(said), stage=STUDENT_STAGE), student.passes
    mix, said = _mix(generation, question, ranked[:count], generation.reranker, ranking, RERANK_STAGE)
    place = next((place for place, found in enumerate(ranked[: len(said)]) if found.row == row), None)
    if mix is None or place is None:
        return {}
    return {name: float(values[place]) for name, values in mix.parts(said).items()}


def _mix(
    generation: Generation,
    question: Question,
    ranked: Sequence[Ranked],
    reranker: Reranker,
    ranking: Ranking,
    stage: str,
) -> tuple[Mix | None, FloatVector]:
    """Return candidates as a stage took them up, and what it said of the first of them; nothing where it saw others."""
    found = {one.row: one.stages[stage] for one in ranking.ranked if stage in one.stages}
    seen = [one.row for one in ranked[: len(found)]]
    if set(seen) != found.keys():
        return None, NOTHING
    said = np.array([found[one] for one in seen], dtype=np.float32)
    return generation.mix(question.text, as_candidates(ranked), reranker), said


def _unseen(ranking: Ranking) -> str:
    """Say why the reranker did not come to a candidate."""
    scored, of = ranking.reranked
    if ranking.settled:
        return f"the answer was settled when {scored} of {of} candidates were scored"
    return f"skipped to keep the deadline: {scored} of {of} candidates were scored" if scored else SKIPPED


def _rank_among(score: float, others: Sequence[float]) -> int:
    return 1 + sum(other > score for other in others)


def _answer_stage(ranking: Ranking, k: int, rank: int | None) -> Stage:
    of = len(ranking.ranked)
    places, to_beat = (k, ranking.ranked[k - 1].score) if k < of else (None, None)
    if rank is None:
        return Stage("answer", Outcome.not_reached, of=of, places=places, to_beat=to_beat)
    check, note = ranking.check, ""
    outcome = Outcome.passed if rank <= k else Outcome.lost
    if check is not None and check.abstained:
        outcome, note = Outcome.lost, f"no good match: probability {check.probability:.3f}, below {check.threshold:.3f}"
    return Stage("answer", outcome, rank, of, places, ranking.ranked[rank - 1].score, to_beat, note)


# --- verdict ----------------------------------------------------------------------------------------------------------


def _verdict(
    generation: Generation, question: Question, stages: Sequence[Stage], row: int, ranking: Ranking, rank: int | None
) -> tuple[Verdict, Otherwise | None]:
    """Name the stage that lost a product which the filter let through, and what would have been without it."""
    by_name = {stage.name: stage for stage in stages}
    fused = by_name["fusion"].rank
    if rank is not None and rank <= question.k:
        return (Verdict.abstained if ranking.check is not None and ranking.check.abstained else Verdict.shown), None
    if by_name[DENSE].outcome is Outcome.missed:
        exact = Otherwise("with exact search", _rank_in(question.ask_exactly(generation), row))
        further = exact.rank is not None and (rank is None or exact.rank <= question.k)
        if fused is None or further:
            return Verdict.index_missed, exact
    if rank is None:
        return (Verdict.not_recalled if fused is None else Verdict.lost_in_fusion), None
    if ranking.degraded:
        in_time = Otherwise("reranked in time", _rank_in(replace(question, deadline=None).ask(generation), row))
        late = in_time.rank is not None and in_time.rank <= question.k
        return (Verdict.lost_to_deadline if late else Verdict.below_k), in_time
    was_in = fused is not None and fused <= question.k
    return (Verdict.reranked_down if was_in else Verdict.below_k), None


def _rank_in(ranking: Ranking, row: int) -> int | None:
    return next((rank for rank, ranked in enumerate(ranking.ranked, start=1) if ranked.row == row), None)
