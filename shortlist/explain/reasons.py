"""Why a product stands where it stands: its words, the stretch of text nearest the query, what the cross-encoder reads.

Each reason is worked out by the part that ranks by it: BM25's own sums, the query tower's own vectors, the
cross-encoder's own scores.
"""

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from indexing.types import FloatVector
from rerank.attribution import Attribution, attribute
from retrieval.lexical import WordShare
from retrieval.passages import Passage, ProductTower, nearest_passages
from retrieval.retriever import LEXICAL
from shortlist.explain.records import Outcome, Twin
from shortlist.explain.stages import Question, Walk
from shortlist.generation import Generation

COMPARED = 50
"""Products with the same dense score whose texts are compared; a larger group is one of empty or boilerplate texts."""


@dataclass(slots=True)
class Reasons:
    """The reasons that could be found; see `Explanation` for each, and milliseconds of those that take time."""

    words: tuple[WordShare, ...] = ()
    cosine: float | None = None
    passages: tuple[Passage, ...] = ()
    attribution: Attribution | None = None
    twins: tuple[Twin, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)


def find_reasons(generation: Generation, question: Question, walked: Walk, row: int) -> Reasons:
    """Look for every reason that the generation's parts can give; none for a product that the filter stopped."""
    found, trace = Reasons(), walked.trace
    if trace is None:
        return found
    product = generation.products.get(row)
    if LEXICAL in trace.lists and generation.retriever.lexical is not None:
        found.words = generation.retriever.lexical.explain(question.text, row)
    if walked.dense is not None and trace.vector is not None:
        found.cosine = float(walked.dense[row])
        found.twins = _twins(generation, walked, walked.dense, row)
        tower: object = generation.tower
        if isinstance(tower, ProductTower):
            start = perf_counter()
            found.passages = nearest_passages(tower, generation.template, product, trace.vector)
            found.timings_ms["passages"] = (perf_counter() - start) * 1000
    if any(stage.name == "rerank" and stage.outcome is Outcome.passed for stage in walked.stages):
        found.attribution = attribute(generation.reranker, question.text, generation.template.render(product))
        found.timings_ms["attribution"] = found.attribution.elapsed_ms
    return found


def _twins(generation: Generation, walked: Walk, dense: FloatVector, row: int) -> tuple[Twin, ...]:
    """Products with the same text, in the order of their ids: equal texts have bit-equal scores."""
    there = generation.products.there
    alike = there[dense[there] == dense[row]]
    alike = alike[np.argsort(generation.products.tie_rank[alike])][: COMPARED + 1]
    text = generation.template.render(generation.products.get(row))
    ranks = {ranked.row: rank for rank, ranked in enumerate(walked.ranking.ranked, start=1)}
    return tuple(
        Twin(generation.products.product_id(other), ranks.get(other))
        for other in alike.tolist()
        if other != row and generation.template.render(generation.products.get(other)) == text
    )
