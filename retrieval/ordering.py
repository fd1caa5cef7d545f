"""The one order of the first stage: highest score first, equal scores by tie rank."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from indexing.types import IntVector

FloatVector: TypeAlias = npt.NDArray[np.float32]


def best_first(scores: FloatVector, tie_rank: IntVector, k: int) -> IntVector:
    """Return the positions of the ``k`` highest scores, best first.

    Args:
        scores: float32 [m], no NaN.
        tie_rank: Settles equal scores, lower first; int64 [m], distinct.
        k: Positions wanted, at least 1; all of them when there are fewer.

    Returns:
        int64 [min(k, m)]. The cut is exact: of equal scores around the k-th place the lowest tie ranks stay.
    """
    kept = np.arange(len(scores))
    if k < len(scores):
        lowest = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= lowest)
    order = np.lexsort((tie_rank[kept], -scores[kept]))
    return kept[order[:k]]
