"""What FAISS proposes: one way to ask an index, whole or among selected vectors only."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from indexing import faiss_kinds
from indexing.faiss_kinds import Plan
from indexing.types import BoolVector, FloatMatrix, IntMatrix

# Above queries * dim = 128,000 FAISS 1.15 sums by matrix product, and a query's scores depend on its batch. Quantised
# kinds must not see that when they choose lists; half the limit also leaves room for another default.
_BATCH_FLOATS = 64_000
_FLAT_BATCH = 1024  # an exact index may: the tolerance covers it, and the matrix product is many times faster


@dataclass(frozen=True, slots=True)
class Proposer:
    """A FAISS index and how it is asked; any number of threads may.

    Attributes:
        index: Over distinct vectors, or their codes.
        plan: What it is and how wide it is searched.
        parameters: ``plan`` as FAISS takes it in a call.
    """

    index: Any
    plan: Plan
    parameters: Any

    @classmethod
    def of(cls, index: Any, plan: Plan) -> Self:  # noqa: ANN401 - faiss has no types
        """Prepare what every call needs."""
        return cls(index, plan, faiss_kinds.search_parameters(plan))

    def searching(self, plan: Plan) -> Self:
        """Return the same index searched as ``plan`` says."""
        return replace(self, plan=plan, parameters=faiss_kinds.search_parameters(plan))

    def ask(self, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:
        """Return what the index finds: scores float32 [q, fetch], best first, and numbers int64 [q, fetch].

        An empty place has number -1 and comes last.
        """
        return self._batches(self.index, self.parameters, queries, fetch)

    def ask_among(self, selected: BoolVector, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:
        """Return the best of the vectors that are selected, bool [u], each of which is compared with every query."""
        part, parameters = faiss_kinds.exhaustive(self.index, self.plan, faiss_kinds.selecting(selected))
        return self._batches(part, parameters, queries, fetch)

    def _batches(
        self,
        part: Any,  # noqa: ANN401 - faiss has no types
        parameters: Any,  # noqa: ANN401 - nor here
        queries: FloatMatrix,
        fetch: int,
    ) -> tuple[FloatMatrix, IntMatrix]:
        size = _FLAT_BATCH if self.plan.kind == "flat" else max(1, _BATCH_FLOATS // queries.shape[1])
        if len(queries) <= size:
            scores, numbers = part.search(queries, fetch, params=parameters)
            return scores, numbers
        answers = [
            part.search(queries[first : first + size], fetch, params=parameters)
            for first in range(0, len(queries), size)
        ]
        return np.concatenate([scores for scores, _ in answers]), np.concatenate([numbers for _, numbers in answers])
