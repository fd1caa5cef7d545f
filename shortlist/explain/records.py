"""What an explanation is: a verdict, the stages behind it, and the reasons; plain records, safe to print as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rerank.attribution import Attribution
from retrieval.filters import Condition
from retrieval.lexical import WordShare
from retrieval.passages import Passage
from retrieval.records import Product


class Verdict(StrEnum):
    """What became of a product: in the answer, or the stage that lost it.

    The first stage that did not pass it on is named (``abstained``: it is a hit, but the answer says that there is no
    good match), and two causes that lie before it, each found by asking again:
    ``index_missed`` (with exact search it would be shown, or at least a candidate) and ``lost_to_deadline`` (reranked
    in time, it would be shown).
    """

    shown = "shown"
    not_in_catalogue = "not_in_catalogue"
    quarantined = "quarantined"
    deleted = "deleted"
    filtered = "filtered"
    not_recalled = "not_recalled"
    index_missed = "index_missed"
    lost_in_fusion = "lost_in_fusion"
    reranked_down = "reranked_down"
    lost_to_deadline = "lost_to_deadline"
    below_k = "below_k"
    abstained = "abstained"


class Outcome(StrEnum):
    """What one stage did with a product."""

    passed = "passed"
    lost = "lost"
    missed = "missed"
    """An approximate index did not return what exact search would have."""
    skipped = "skipped"
    """The stage did not run for this query."""
    not_reached = "not_reached"
    """The product did not come so far."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of an answer, as the product went through it.

    Attributes:
        name: ``catalogue``, ``filter``, ``dense``, ``lexical``, ``fusion``, ``rerank`` or ``answer``, in this order.
        outcome: What it did with the product.
        rank: Its exact rank there, from 1; ``None`` where there is none, e.g. for a product without a query word.
        of: How many products were ranked.
        places: How many of them the stage passes on; ``None`` where it passes on all.
        score: Its score there; for ``rerank`` the cross-encoder's own, for ``answer`` the final one.
        to_beat: Score of the last place that is passed on; ``None`` when places were left.
        note: What the numbers do not say, in words.
    """

    name: str
    outcome: Outcome
    rank: int | None = None
    of: int | None = None
    places: int | None = None
    score: float | None = None
    to_beat: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Twin:
    """A product with the same text, which no stage but the order of the ids can tell from the one explained.

    Attributes:
        product_id: The product.
        rank: Its rank in the answer; ``None`` when it is not among the candidates.
    """

    product_id: str
    rank: int | None


@dataclass(frozen=True, slots=True)
class Otherwise:
    """What would have become of the product without the stage that lost it.

    Attributes:
        change: ``without the filter``, ``with exact search`` or ``reranked in time``.
        rank: Its rank then; ``None`` when it would still not be among the candidates.
    """

    change: str
    rank: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a product is, or is not, in the answer to a query.

    Attributes:
        query: The query as it was searched (normalised).
        product_id: The product asked about.
        product: Its fields; ``None`` when the catalogue does not hold it.
        generation: Name of the bundle version that was asked.
        verdict: What became of it.
        headline: The verdict in one sentence, with its numbers.
        k: Hits wanted.
        rank: Its rank among the candidates after the last stage; in the answer when at most ``k``; ``None`` when it is
            no candidate.
        stages: All stages, in order.
        conditions: The filter held against the product: an OR of ANDs; empty without a filter.
        parts: What adds up to its final score: ``first`` (first stage) and ``rerank`` (cross-encoder), standardised and
            weighed, and what learned trees add for each feature; empty when the cross-encoder did not see it.
        words: What each word of the query adds to its BM25 score, the most first.
        cosine: Of its whole text to the query; ``None`` when the dense source is not asked.
        passages: Its fields and sentences, the nearest to the query first; empty where nothing can encode them.
        attribution: What each word does for the cross-encoder's score; ``None`` when it did not see the product.
        twins: Products with the same text, in the order of their ids.
        otherwise: What would have become of it without the stage that lost it, where that can be told.
        suggestions: Ids like the one asked about, when there is no such product.
        timings_ms: Milliseconds of the parts of this explanation.
    """

    query: str
    product_id: str
    product: Product | None
    generation: str
    verdict: Verdict
    headline: str
    k: int
    rank: int | None
    stages: tuple[Stage, ...]
    conditions: tuple[tuple[Condition, ...], ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    words: tuple[WordShare, ...] = ()
    cosine: float | None = None
    passages: tuple[Passage, ...] = ()
    attribution: Attribution | None = None
    twins: tuple[Twin, ...] = ()
    otherwise: Otherwise | None = None
    suggestions: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    def stage(self, name: str) -> Stage:
        """Return the stage of that name.

        Raises:
            KeyError: No such stage.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)
