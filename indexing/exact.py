"""Exact search, slow and obvious: what every other index is measured against."""

from collections.abc import Iterator

import numpy as np

from indexing.checks import check_search, check_tie_rank
from indexing.scores import score_rows
from indexing.types import BoolVector, FloatMatrix, FloatVector, IntVector, Neighbors, Vectors

_FEW = 1024  # measured: up to here one sort takes less than a partition and a sort
_SPARSE = 8  # eligible rows fewer than one in so many are read one by one and not block by block
_BLOCK_ROWS = 4096  # 6 MB of 384 dimensions: stays in a second-level or shared cache while all queries pass over it


def best_first(scores: FloatVector, rows: IntVector, *, k: int, tie_rank: IntVector | None) -> IntVector:
    """Return the places of the ``k`` highest scores, best first.

    Args:
        scores: float32 [m], finite.
        rows: The row each score belongs to, int64 [m].
        k: How many at most; fewer when m is less.
        tie_rank: Orders rows of equal score, lower first, int64 [n]; the row itself when not given or equal too.

    Returns:
        int64 [min(k, m)], indices into ``scores``.
    """
    if len(scores) <= _FEW:  # sorting them all is faster than finding out which need not be
        order = np.argsort(-scores, kind="stable")[: k + 1]
        best = scores[order]
        if not (best[1:] == best[:-1]).any():  # the usual case, and then nothing is left to settle
            return order[:k]
    places = np.arange(len(scores))
    if len(scores) > k:
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores >= kth)  # all that tie at the k-th place stay in the contest
    ties = rows[places] if tie_rank is None else tie_rank[rows[places]]
    order = np.lexsort((rows[places], ties, -scores[places]))
    return places[order[:k]]


def place_of(
    row: int, scores: FloatVector, *, tie_rank: IntVector | None, eligible: BoolVector | None = None
) -> tuple[int, int]:
    """Return the rank of one row in the order of `best_first`, from 1, and how many rows it is ranked among.

    Args:
        row: The row, itself eligible.
        scores: Score of every row, float32 [n], finite.
        tie_rank: As for `best_first`.
        eligible: Rows that are ranked, bool [n]; ``None`` means all.
    """
    rivals = np.ones(len(scores), dtype=np.bool_) if eligible is None else eligible
    above = np.count_nonzero(rivals & (scores > scores[row]))
    tied = np.flatnonzero(rivals & (scores == scores[row]))
    ties = tied if tie_rank is None else tie_rank[tied]
    own = row if tie_rank is None else tie_rank[row]
    before = np.count_nonzero((ties < own) | ((ties == own) & (tied < row)))
    return int(above + before) + 1, int(np.count_nonzero(rivals))


class ExactIndex:
    """Brute force over blocks of the exact vectors; implements `VectorIndex`, and is its oracle."""

    def __init__(self, vectors: Vectors, *, tie_rank: IntVector | None = None) -> None:
        """Search ``vectors``; rows of equal score are ordered by ``tie_rank`` (int64 [n], lower first; default: row).

        Raises:
            ValueError: If ``tie_rank`` does not have one entry per vector.
        """
        self._vectors = vectors
        self._tie_rank = check_tie_rank(tie_rank, count=vectors.count)

    @property
    def count(self) -> int:
        """Number of rows that can be found."""
        return self._vectors.count

    @property
    def dim(self) -> int:
        """Dimension of the vectors and of the queries."""
        return self._vectors.dim

    def scores(self, query: FloatVector) -> FloatVector:
        """Score every row for one query (float32 [d]), float32 [n]; bit for bit what `search` returns for a row."""
        found = np.empty(self.count, dtype=np.float32)
        for first, block in self._vectors.blocks(_BLOCK_ROWS):
            found[first : first + len(block)] = score_rows(query, block)
        return found

    def search(self, queries: FloatMatrix, k: int, *, eligible: BoolVector | None = None) -> Neighbors:
        """Find the ``k`` rows with the highest inner product for every query.

        Args:
            queries: float32 [q, d], finite, of any length.
            k: Rows wanted per query, at least 1; more than there are leaves empty places.
            eligible: Rows that may be returned, bool [n]; ``None`` means all.

        Returns:
            Exactly ``k`` places per query, best first; empty places hold row -1 and score -inf.

        Raises:
            ValueError: If ``k`` is below 1 or ``eligible`` does not have one entry per vector.
            VectorError: If the queries have the wrong shape or dtype or are not finite.
        """
        queries, _ = check_search(queries, k, eligible, count=self.count, dim=self.dim)
        found = empty_neighbors(len(queries), k)
        for rows, block in self._blocks(eligible):
            for place, query in enumerate(queries):
                self._merge(found, place, rows, score_rows(query, block))
        return found

    def _blocks(self, eligible: BoolVector | None) -> Iterator[tuple[IntVector, FloatMatrix]]:
        """Yield the eligible rows in order, int64 [<=4096], and their vectors."""
        if eligible is not None:
            chosen = np.flatnonzero(eligible)
            if len(chosen) * _SPARSE <= self.count:
                for first in range(0, len(chosen), _BLOCK_ROWS):
                    rows = chosen[first : first + _BLOCK_ROWS]
                    yield rows, self._vectors.take(rows)
                return
        for first, block in self._vectors.blocks(_BLOCK_ROWS):
            rows = np.arange(first, first + len(block), dtype=np.int64)
            if eligible is not None:
                rows = rows[eligible[rows]]
                block = block[rows - first]
            yield rows, block

    def _merge(self, found: Neighbors, place: int, rows: IntVector, scores: FloatVector) -> None:
        """Let the rows of one block compete with the best so far."""
        k = found.rows.shape[1]
        worst = found.scores[place, k - 1]
        rivals = np.flatnonzero(scores >= worst)
        if not rivals.size:
            return
        held = found.rows[place] >= 0
        all_scores = np.concatenate((found.scores[place, held], scores[rivals]))
        all_rows = np.concatenate((found.rows[place, held], rows[rivals]))
        best = best_first(all_scores, all_rows, k=k, tie_rank=self._tie_rank)
        found.scores[place, : len(best)] = all_scores[best]
        found.rows[place, : len(best)] = all_rows[best]


def empty_neighbors(queries: int, k: int) -> Neighbors:
    """Return ``queries`` lists of ``k`` empty places."""
    return Neighbors(
        scores=np.full((queries, k), -np.inf, dtype=np.float32), rows=np.full((queries, k), -1, dtype=np.int64)
    )
