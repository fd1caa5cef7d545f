"""The types made only of vectors: matrices, and the neighbours an index finds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

FloatMatrix: TypeAlias = npt.NDArray[np.float32]
"""float32 [n, d], C-contiguous; rows of unit length wherever cosine is meant."""

FloatVector: TypeAlias = npt.NDArray[np.float32]
IntMatrix: TypeAlias = npt.NDArray[np.int64]
IntVector: TypeAlias = npt.NDArray[np.int64]
BoolVector: TypeAlias = npt.NDArray[np.bool_]
BoolMatrix: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Neighbors:
    """What an index found for a batch of queries.

    Attributes:
        scores: Inner products, float32 [q, k], best first; an empty place holds ``-inf``.
        rows: Rows of the index, int64 [q, k], aligned with ``scores``; an empty place holds ``-1`` and comes last.
    """

    scores: FloatMatrix
    rows: IntMatrix


class Vectors(Protocol):
    """Read access to the exact vectors behind an index, wherever they lie."""

    @property
    def count(self) -> int:
        """Number of rows n."""

    @property
    def dim(self) -> int:
        """Number of columns d."""

    @property
    def matrix(self) -> FloatMatrix | None:
        """All of them as one C-contiguous array, float32 [n, d], where they lie so already."""

    def take(self, rows: IntVector) -> FloatMatrix:
        """Return the vectors of ``rows`` (int64 [m], any order, repeats allowed) as float32 [m, d], C-contiguous."""

    def blocks(self, size: int) -> Iterator[tuple[int, FloatMatrix]]:
        """Yield ``(first_row, float32 [<=size, d])`` over all rows in order."""


class VectorIndex(Protocol):
    """What every index, exact or approximate, can do."""

    @property
    def count(self) -> int:
        """Number of rows that can be found."""

    @property
    def dim(self) -> int:
        """Dimension of the vectors and of the queries."""

    def search(self, queries: FloatMatrix, k: int, *, eligible: BoolVector | None = None) -> Neighbors:
        """Find the ``k`` rows with the highest inner product for every query.

        Args:
            queries: float32 [q, d], finite.
            k: Rows wanted per query, at least 1; more than ``count`` leaves empty places.
            eligible: Rows that may be returned, bool [n]; ``None`` means all.

        Returns:
            Exactly ``k`` places per query, best first; equal scores are ordered by the tie rank of the index.
        """
