"""An index that tells somebody what it was asked and what it answered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from indexing.types import BoolVector, FloatMatrix, Neighbors, VectorIndex

Observe: TypeAlias = Callable[[FloatMatrix, Neighbors, BoolVector | None], None]
"""Takes query vectors [q, d], what the index returned for them [q, k], and which rows were eligible."""


@dataclass(frozen=True, slots=True)
class ObservedIndex:
    """Searches ``index`` and tells ``observe`` before it returns; implements `VectorIndex`."""

    index: VectorIndex
    observe: Observe

    @property
    def count(self) -> int:
        """Number of rows that can be found."""
        return self.index.count

    @property
    def dim(self) -> int:
        """Dimension of the vectors and of the queries."""
        return self.index.dim

    def search(self, queries: FloatMatrix, k: int, *, eligible: BoolVector | None = None) -> Neighbors:
        """Find what ``index`` finds."""
        found = self.index.search(queries, k, eligible=eligible)
        self.observe(queries, found, eligible)
        return found
