"""Folds of a cross-validation that keep what belongs together on one side."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

FOLDS = 5
"""Of every cross-validation here, inner and outer."""


def folds(groups: npt.NDArray[np.int64], seed: int, *, count: int = FOLDS) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the members of each fold, bool [n]: every example in one, all of a group in the same, none of them empty.

    Args:
        groups: Group of every example, int64 [n].
        seed: Deals the groups out.
        count: Folds; fewer where there are fewer groups.
    """
    distinct = np.unique(groups)
    dealt = np.random.default_rng(seed).permutation(len(distinct)) % min(count, len(distinct))
    fold_of = dealt[np.searchsorted(distinct, groups)]
    for fold in range(int(fold_of.max()) + 1):
        yield fold_of == fold
