"""The one arithmetic of scores: FAISS's inner product of two vectors, of each row by itself.

A matrix product adds in another order depending on how many rows it is given. Here a row's score depends on the query
and that row alone, so equal vectors have bit-equal scores wherever they stand and whoever asks: the exact search, what
an index proposes, rows that came later.
"""

import math
from typing import Any

import faiss as _faiss
import numpy as np

from indexing.types import FloatMatrix, FloatVector, IntMatrix

faiss: Any = _faiss  # its own stubs know half of its names
_address, _products, _best = faiss.swig_ptr, faiss.fvec_inner_products_ny, faiss.knn_inner_products_by_idx

# FAISS 1.15 adds these dimensions in an order of their own when it is given many rows (`fvec_inner_products_ny`).
_OWN_ORDER = frozenset({1, 2, 4, 8, 12})


SHORTEST = 1e-18
"""A query counts as at least so long where it bounds an error: the squares of shorter ones leave float32 (1e-38), and
the bound would be lost with them. A bound that is too high is safe: more is looked at."""


def length_at_most(query: FloatVector) -> float:
    """Return how long a query, float32 [d], is at most: its length, or `SHORTEST`."""
    return max(math.sqrt(np.vecdot(query, query)), SHORTEST)


def score_rows(query: FloatVector, vectors: FloatMatrix) -> FloatVector:
    """Return the inner product of one query with every row, each computed by itself.

    Args:
        query: float32 [d], C-contiguous.
        vectors: float32 [m, d], C-contiguous.

    Returns:
        float32 [m].
    """
    count, dim = vectors.shape
    scores = np.empty(count, dtype=np.float32)
    if dim in _OWN_ORDER:
        places = np.arange(count)[np.newaxis]
        found, order = best_rows(query[np.newaxis], vectors, places, count)
        scores[order[0]] = found[0]
    elif count:
        _products(_address(scores), _address(query), _address(vectors), dim, count)
    return scores


def best_rows(queries: FloatMatrix, vectors: FloatMatrix, rows: IntMatrix, k: int) -> tuple[FloatMatrix, IntMatrix]:
    """Score rows chosen for each query as `score_rows` does, where they lie, and return the best of them.

    Args:
        queries: float32 [q, d], C-contiguous.
        vectors: float32 [n, d], C-contiguous.
        rows: Of ``vectors``, int64 [q, m], C-contiguous; the first -1 of a query ends its rows.
        k: How many at most, at least 1.

    Returns:
        Scores float32 [q, k], best first, and rows int64 [q, k]; rows of equal score in any order, -1 where there are
        no more.
    """
    count, dim = queries.shape
    scores, best = np.empty((count, k), dtype=np.float32), np.empty((count, k), dtype=np.int64)
    if rows.size:
        pointers, width = (_address(queries), _address(vectors), _address(rows)), rows.shape[1]
        # The last argument is the step from one query's rows to the next; left out, FAISS 1.15 steps by len(vectors).
        _best(*pointers, dim, count, len(vectors), width, k, _address(scores), _address(best), width)
    else:
        best.fill(-1)
    return scores, best
