"""What the first hits of an answer show together, as numbers: whether a good match is among them is read off these.

No single one of them tells. A cosine or a BM25 score is high where the query is short; a shopper's word that no product
holds may be a synonym or a thing that the shop does not sell; a cross-encoder is sure of a wrong brand. So they are
weighed together (`rerank.abstention`), and each is such that it means the same for every query and every catalogue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rerank.logistic import Values
from retrieval.words import words

LOOKED_AT = 10
"""Hits that are looked at: what a shopper sees first."""

FIRST_STAGE = ("dense_best", "dense_mean", "words_best", "words_any", "codes_any")
"""Features of every answer; those of an answer that was reranked have `RERANKED` too."""

RERANKED = ("rerank_best", "rerank_mean", "rerank_gap")

CODE_LENGTH = 3
"""Shortest word with a digit in it that may be a model number; shorter ones are sizes and counts."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One hit of an answer.

    Attributes:
        stages: Score of every stage that saw it.
        text: The product's text, as the cross-encoder reads it.
    """

    stages: Mapping[str, float]
    text: str


def answer_features(query: str, shown: Sequence[Shown]) -> dict[str, float]:
    """Return the features of an answer by name: those of `FIRST_STAGE`, and of `RERANKED` where it was reranked.

    ====================  =============================================================================================
    ``dense_best, _mean``  highest and mean cosine; a hit that was found by its words alone counts as the lowest cosine
    ``words_best``         largest share of the query's words that one hit holds
    ``words_any``          share of the query's words that some hit holds
    ``codes_any``          the same of the words that look like model numbers; 1 when there are none
    ``rerank_best, _mean`` highest and mean score of the cross-encoder
    ``rerank_gap``         how far the highest lies above the mean, in standard deviations; 0 when all are alike
    ====================  =============================================================================================

    Args:
        query: Normalised query.
        shown: The hits, best first; those after the first `LOOKED_AT` do not matter.

    Returns:
        Finite numbers; for no hits or no words, what an answer without any likeness has (0).
    """
    first = shown[:LOOKED_AT]
    asked = set(words(query))
    held = [asked & set(words(hit.text)) for hit in first]
    anywhere: set[str] = set().union(*held)
    codes = {word for word in asked if len(word) >= CODE_LENGTH and any(sign.isdigit() for sign in word)}
    dense = _filled([hit.stages.get("dense") for hit in first])
    found = {
        "dense_best": float(dense.max()),
        "dense_mean": float(dense.mean()),
        "words_best": max(map(len, held), default=0) / max(1, len(asked)),
        "words_any": len(anywhere) / max(1, len(asked)),
        "codes_any": len(anywhere & codes) / len(codes) if codes else 1.0,
    }
    if first and all("rerank" in hit.stages for hit in first):
        scores = np.array([hit.stages["rerank"] for hit in first], np.float64)
        best, mean, spread = float(scores.max()), float(scores.mean()), float(scores.std())
        gap = (best - mean) / spread if best > mean else 0.0
        found |= {"rerank_best": best, "rerank_mean": mean, "rerank_gap": gap}
    return found


def _filled(scores: Sequence[float | None]) -> Values:
    """Return scores with the lowest in place of what is missing; a 0 when all are."""
    there = [score for score in scores if score is not None]
    lowest = min(there, default=0.0)
    return np.array([lowest if score is None else score for score in scores] or [0.0], np.float64)
