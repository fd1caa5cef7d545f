"""The contract of vectors that a catalogue brings: one dimension, finite, not zero, scaled to unit length."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexing.types import FloatMatrix

UNIT_TOLERANCE = 1e-4
"""A length this near to 1 is left as it is. Rounding 384 components to half precision moves the length of a unit vector
by some 2.5e-5 (a relative error of 2**-11 each, averaging out as 1/sqrt(384)); the index asks for 1e-3."""

_Vector = npt.NDArray[np.float64]


class VectorColumn:
    """Checks the vectors of a stream of batches against one dimension, that of the first batch's majority.

    Attributes:
        column: Its name, for the problems.
        dim: The dimension; 0 until a batch had a vector.
        rescaled: Vectors whose length was not 1 and that were scaled to it.
    """

    def __init__(self, column: str) -> None:
        self.column = column
        self.dim = 0
        self.rescaled = 0

    def problems(self, cells: Sequence[object]) -> list[str]:
        """Return for every cell what is wrong with it, empty for a good one.

        Args:
            cells: Lists of numbers or one-dimensional arrays; ``None`` is missing.
        """
        vectors = [_as_vector(cell) for cell in cells]
        if not self.dim:
            sizes = Counter(len(vector) for vector in vectors if isinstance(vector, np.ndarray))
            self.dim = max(sizes, key=lambda size: (sizes[size], size), default=0)
        return [self._problem(vector) for vector in vectors]

    def unit(self, cells: Sequence[object]) -> FloatMatrix:
        """Return vectors without problems as float32 [n, dim] of unit length, and count those that had another."""
        matrix = np.stack([np.asarray(cell, dtype=np.float64) for cell in cells])
        # Divided by the largest component first, so that squares neither overflow nor vanish.
        peaks = np.abs(matrix).max(axis=1, keepdims=True)
        directions = matrix / peaks
        norms = np.linalg.norm(directions, axis=1, keepdims=True)
        with np.errstate(over="ignore"):  # an infinite length is not 1 either
            scaled = (np.abs(peaks * norms - 1.0) > UNIT_TOLERANCE)[:, 0]
        matrix[scaled] = (directions / norms)[scaled]
        self.rescaled += int(scaled.sum())
        return matrix.astype(np.float32)

    def _problem(self, vector: "_Vector | str") -> str:
        if isinstance(vector, str):
            return f"{self.column}: {vector}"
        if len(vector) != self.dim:
            return f"{self.column}: expected {self.dim} numbers, got {len(vector)}"
        if not np.isfinite(vector).all():
            return f"{self.column}: not finite"
        return "" if vector.any() else f"{self.column}: zero"


def _as_vector(cell: object) -> "_Vector | str":
    """Return the cell as float64 [d], or why it is none."""
    if cell is None:
        return "missing"
    if isinstance(cell, np.ndarray):
        return cell.astype(np.float64) if len(cell) else "not a list of numbers"
    if not isinstance(cell, list) or not cell or not all(type(number) in (int, float) for number in cell):
        return "not a list of numbers"
    try:
        return np.asarray(cell, dtype=np.float64)
    except OverflowError:  # an integer beyond 1.8e308
        return "not finite"
