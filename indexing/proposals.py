"""What FAISS proposes: one way to ask an index, whole or among selected vectors only."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, TypeAlias

import numpy as np

from indexing import faiss_io, faiss_kinds
from indexing.faiss_kinds import Plan
from indexing.types import BoolVector, FloatMatrix, IntMatrix

# Above queries * dim = 128,000 FAISS 1.15 sums by matrix product, and a query's scores depend on its batch. Quantised
# kinds must not see that when they choose lists; half the limit also leaves room for another default.
_BATCH_FLOATS = 64_000
_FLAT_BATCH = 1024  # an exact index may: the tolerance covers it, and the matrix product is many times faster


_address: Any = faiss_kinds.faiss.swig_ptr

Search: TypeAlias = Callable[[FloatMatrix, int], tuple[FloatMatrix, IntMatrix]]
"""Takes queries [q, d] and how many to fetch; returns scores and numbers [q, fetch]."""


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

    def holding(self, k: int, *, count: int) -> Self:
        """Return the same index, of ``count`` vectors, searched widely enough to find ``k``; itself where it is."""
        plan = faiss_kinds.holding(self.plan, k, count=count)
        return self if plan is self.plan else self.searching(plan)

    @property
    def size_bytes(self) -> int:
        """Bytes in memory."""
        return faiss_io.size_bytes(self.index)

    def ask(self, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:
        """Return what the index finds: scores float32 [q, >= fetch], best first, and numbers int64 of the same shape.

        An empty place has number -1 and comes last. Where the kind holds the vectors (`Plan.is_exact`) no vector scores
        higher than is said of it, but for rounding.
        """
        if len(queries) == 1:
            return ask_faiss(self.index, self.parameters, queries, fetch)
        return self._batches(partial(ask_faiss, self.index, self.parameters), queries, fetch)

    def ask_among(self, selected: BoolVector, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:
        """Return the best of the vectors that are selected, bool [u], each of which is compared with every query."""
        part, parameters = faiss_kinds.exhaustive(self.index, self.plan, faiss_kinds.selecting(selected))
        return self._batches(partial(ask_faiss, part, parameters), queries, fetch)

    def _batches(self, search: Search, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:
        size = _FLAT_BATCH if self.plan.kind == "flat" else max(1, _BATCH_FLOATS // queries.shape[1])
        if len(queries) <= size:
            return search(queries, fetch)
        answers = [search(queries[first : first + size], fetch) for first in range(0, len(queries), size)]
        return np.concatenate([scores for scores, _ in answers]), np.concatenate([numbers for _, numbers in answers])


def ask_faiss(index: Any, parameters: Any, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:  # noqa: ANN401
    """Search as ``faiss.Index.search`` does, whose checks and conversions these arguments have behind them."""
    scores, numbers = np.empty((len(queries), fetch), np.float32), np.empty((len(queries), fetch), np.int64)
    index.search_c(len(queries), _address(queries), fetch, _address(scores), _address(numbers), parameters)
    return scores, numbers
