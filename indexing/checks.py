"""What every vector, query and argument is held to, once, at the boundary of the package."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from indexing.errors import VectorError
from indexing.types import BoolVector, FloatMatrix, FloatVector, IntVector

_UNIT_TOLERANCE = 1e-3  # rounding to bfloat16 changes a length by about 2^-9 / sqrt(d), float32 arithmetic by 1e-7
_SHOWN = 10  # rows named in a message: enough to find the cause, few enough to read


def check_vectors(
    vectors: npt.NDArray[Any], *, dim: int | None = None, names: Sequence[str] | None = None, first_row: int = 0
) -> FloatMatrix:
    """Return ``vectors`` as C-contiguous float32 [n, d], or say which rows no index may hold.

    Args:
        vectors: float32 [n, d]; n may be 0. Another dtype is refused, not converted.
        dim: The d that is expected; ``None`` takes any above 0.
        names: What to call the rows in a message (product ids), n of them; row numbers when not given.
        first_row: Number of the first row in a message, for callers that check block by block.

    Raises:
        VectorError: If shape or dtype are wrong, or a row is not finite, or its length is not 1 within 0.001; with
            the ``positions`` and ``names`` of all such rows.
    """
    _require_matrix(vectors, dim=dim)
    with np.errstate(all="ignore"):  # an overflow shows as a length that is not 1
        lengths = np.sqrt(np.vecdot(vectors, vectors))
        bad = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT_TOLERANCE))  # NaN compares false, so it is bad
    if bad.size:
        shown = ", ".join(
            _complaint(vectors[row], lengths[row], f"row {first_row + row}" if names is None else repr(names[row]))
            for row in bad[:_SHOWN]
        )
        rest = ", ..." if bad.size > _SHOWN else ""
        raise VectorError(
            f"{bad.size} of {len(vectors)} vectors cannot be indexed: {shown}{rest}; "
            f"encode them again, or divide each by its length",
            positions=bad,
            names=() if names is None else [names[row] for row in bad.tolist()],
        )
    return np.ascontiguousarray(vectors)


def check_queries(queries: npt.NDArray[Any], *, dim: int) -> tuple[FloatMatrix, float]:
    """Return ``queries`` as C-contiguous float32 [q, d], and the length of them all as one vector.

    Each may have any length that float32 can square (up to 1e19); none is longer than all of them together.

    Raises:
        VectorError: If shape or dtype are wrong or a row is not finite.
    """
    _require_matrix(queries, dim=dim)
    squares = float(np.vdot(queries, queries))
    if math.isfinite(squares):  # so each of them is: one step is all that most queries cost
        return np.ascontiguousarray(queries), math.sqrt(squares)
    with np.errstate(all="ignore"):  # an overflow is infinite, and refused
        bad = np.flatnonzero(~np.isfinite(np.vecdot(queries, queries)))
    if bad.size:
        shown = ", ".join(map(str, bad[:_SHOWN])) + (", ..." if bad.size > _SHOWN else "")
        raise VectorError(f"{bad.size} of {len(queries)} query vectors are not finite: rows {shown}; encode them again")
    return np.ascontiguousarray(queries), float(np.linalg.norm(queries.astype(np.float64)))


def check_tie_rank(tie_rank: IntVector | None, *, count: int) -> IntVector | None:
    """Return ``tie_rank``, or raise ValueError unless it is int64 [count]."""
    if tie_rank is not None and (tie_rank.shape != (count,) or tie_rank.dtype != np.int64):
        raise ValueError(f"expected tie_rank as int64 [{count}], got {tie_rank.dtype} {list(tie_rank.shape)}")
    return tie_rank


def check_search(
    queries: FloatMatrix, k: int, eligible: BoolVector | None, *, count: int, dim: int
) -> tuple[FloatMatrix, float]:
    """Return what `check_queries` does, or raise what `VectorIndex.search` says about arguments."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if eligible is not None and (eligible.shape != (count,) or eligible.dtype != np.bool_):
        raise ValueError(f"expected eligible as bool [{count}], got {eligible.dtype} {list(eligible.shape)}")
    return check_queries(queries, dim=dim)


def _require_matrix(vectors: npt.NDArray[Any], *, dim: int | None) -> None:
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype != np.float32:
        found = f"{vectors.dtype} {list(vectors.shape)}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise VectorError(f"expected a float32 array [n, d], got {found}")
    if vectors.shape[1] == 0 or (dim is not None and vectors.shape[1] != dim):
        expected = "at least 1" if dim is None else str(dim)
        raise VectorError(
            f"expected vectors of dimension {expected}, got {vectors.shape[1]}; was another encoder used?"
        )


def _complaint(vector: FloatVector, length: np.float32, name: str) -> str:
    if not np.isfinite(vector).all():
        return f"{name} is not finite"
    return f"{name} is zero" if not vector.any() else f"{name} has length {length:.5g}"
