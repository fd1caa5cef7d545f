"""The final fusion as the engine sees it: what it makes of one query's candidates once the cross-encoder has spoken.

There are two: `Convex` mixes both stages' standardised scores; `rerank.corrected.Corrected` adds learned trees.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rerank.fusion import Doubles, FloatVector, mixed, standardised
from rerank.settling import is_settled
from retrieval.records import Candidate, Product

LookUp = Callable[[], Sequence[Product]]
"""Returns the candidates' products in their order; called at most once, and only by a fusion that reads them."""


class Mix(Protocol):
    """One query's n candidates, best first, ready for what the cross-encoder says of the first m of them."""

    @property
    def count(self) -> int:
        """How many candidates there are."""

    def prepare(self) -> None:
        """Compute what needs no cross-encoder, so that a deadline counts it; the rest works without this call."""

    def scores(self, cross: npt.ArrayLike) -> FloatVector:
        """Return final scores of the first m, float32 [m], given their raw cross-encoder scores [m].

        Raises:
            ValueError: If there are more scores than candidates, or one is not finite.
        """

    def parts(self, cross: npt.ArrayLike) -> Mapping[str, Doubles]:
        """Return what adds up to `scores`, by name, each float64 [m]; ``first`` and ``rerank`` are always there."""

    def is_settled(self, cross: Doubles, *, k: int) -> bool:
        """Return whether no score of the others could change the first ``k`` places; false where it is not proven."""


class FinalFusion(Protocol):
    """One score out of what both stages say; stored with the cross-encoder whose scores it was chosen for."""

    @property
    def asks(self) -> bool:
        """Whether the cross-encoder has a say; where it has none it is never asked, and the first stage stands."""

    @property
    def identity(self) -> str:
        """A text that differs between two fusions that score otherwise."""

    def over(self, query: str, candidates: Sequence[Candidate], products: LookUp) -> Mix:
        """Take up one query's candidates, best first: those that the cross-encoder is to see."""


@dataclass(frozen=True, slots=True)
class Convex:
    """``(1 - weight) * z(first) + weight * z(cross)``; see `rerank.fusion.partial_scores`.

    Attributes:
        weight: The cross-encoder's share, in [0, 1].
    """

    weight: float

    @property
    def asks(self) -> bool:
        """Whether the weight is above 0."""
        return self.weight > 0

    @property
    def identity(self) -> str:
        """The weight."""
        return f"{self.weight:g}"

    def over(self, query: str, candidates: Sequence[Candidate], products: LookUp) -> "ConvexMix":
        """Standardise the first stage's scores; neither the query nor the products matter."""
        del query, products
        return ConvexMix(standardised([candidate.score for candidate in candidates]), self.weight)


@dataclass(frozen=True, slots=True)
class ConvexMix:
    """Candidates of a `Convex` fusion.

    Attributes:
        first: First-stage scores, standardised over all candidates, best first, float64 [n].
        weight: The cross-encoder's share.
    """

    first: Doubles
    weight: float

    @property
    def count(self) -> int:
        """How many candidates there are."""
        return len(self.first)

    def prepare(self) -> None:
        """Do nothing: all is there."""

    def scores(self, cross: npt.ArrayLike) -> FloatVector:
        """Return the weighted sum, float32 [m]."""
        parts = self.parts(cross)
        return (parts["first"] + parts["rerank"]).astype(np.float32)

    def parts(self, cross: npt.ArrayLike) -> Mapping[str, Doubles]:
        """Return both summands."""
        return mixed(self.first, cross, weight=self.weight)

    def is_settled(self, cross: Doubles, *, k: int) -> bool:
        """Prove it from the bounds of standardised values; see `rerank.settling`."""
        return is_settled(self.first, cross, weight=self.weight, k=k)
