"""A cross-encoder that scores no pair twice: ways that are measured and differ in depth ask for the same pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from indexing.types import FloatVector
from rerank.final import FinalFusion
from rerank.reranker import Reranker


@dataclass(frozen=True, slots=True)
class RememberingReranker:
    """Implements `Reranker` over another.

    Attributes:
        reranker: Who scores.
        scored: Told how many pairs were scored just now; ``None`` for nobody.
        known: Query and text -> score.
    """

    reranker: Reranker
    scored: Callable[[int], None] | None = None
    known: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def fusion(self) -> FinalFusion:
        """Of the reranker behind it."""
        return self.reranker.fusion

    def score(self, query: str, texts: Sequence[str]) -> FloatVector:
        """Score texts for a query, float32 [n]; those not seen before as one batch."""
        new = [text for text in dict.fromkeys(texts) if (query, text) not in self.known]
        if new:
            scores = self.reranker.score(query, new)
            self.known.update({(query, text): float(score) for text, score in zip(new, scores, strict=True)})
            if self.scored is not None:
                self.scored(len(new))
        return np.array([self.known[query, text] for text in texts], dtype=np.float32)
