"""An index and what changed since: its dead rows are left out, newer vectors are searched exactly beside it.

Rows [0, n) are the base's, rows [n, n + m) the delta's. What the base finds among rows that are there, and every
newer vector, compete by exact score and one tie rank over all rows. So with an exact base the answer is that of an
exact index over what is there now, and with another one what is newer is never missed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from indexing.checks import check_search, check_tie_rank
from indexing.exact import best_first, empty_neighbors
from indexing.scores import score_rows
from indexing.types import BoolVector, FloatMatrix, IntVector, Neighbors, VectorIndex, Vectors

_SPARE = 64  # fetched beyond k in the first round: dead rows that crowd around a query rarely cost a second one
_GROWTH = 4  # every further round fetches so many times more
_SCANNED_SHARE = 0.25  # beyond this share of all rows one exact scan is no dearer than what an index must fetch


@dataclass(frozen=True, slots=True)
class LayeredVectors:
    """The vectors of both, rows as above; implements `Vectors`.

    Attributes:
        base: n vectors, wherever they lie.
        delta: float32 [m, d].
    """

    base: Vectors
    delta: FloatMatrix

    @property
    def count(self) -> int:
        """Number of rows n + m."""
        return self.base.count + len(self.delta)

    @property
    def dim(self) -> int:
        """Number of columns d."""
        return self.base.dim

    @property
    def matrix(self) -> None:
        """None: they lie in two places."""

    def take(self, rows: IntVector) -> FloatMatrix:
        """Return the vectors of ``rows`` (int64 [r], any order, repeats allowed) as float32 [r, d]."""
        taken = np.empty((len(rows), self.dim), dtype=np.float32)
        newer = rows >= self.base.count
        taken[~newer] = self.base.take(rows[~newer])
        taken[newer] = self.delta[rows[newer] - self.base.count]
        return taken

    def blocks(self, size: int) -> Iterator[tuple[int, FloatMatrix]]:
        """Yield ``(first_row, float32 [<=size, d])`` over all rows in order."""
        yield from self.base.blocks(size)
        for first in range(0, len(self.delta), size):
            yield self.base.count + first, self.delta[first : first + size]


class LayeredIndex:
    """Implements `VectorIndex` over a base and a delta; immutable, safe to search from several threads."""

    def __init__(self, base: VectorIndex, dead: BoolVector, delta: FloatMatrix, *, tie_rank: IntVector) -> None:
        """Put the parts together.

        Args:
            base: Index of n rows, which orders equal scores as ``tie_rank`` does. One that weighs only some rows for a
                query must weigh more of them when many are dead (`FaissIndex.widened`).
            dead: Rows of it that are no longer there, bool [n].
            delta: Newer vectors of unit length, all of them there, float32 [m, d].
            tie_rank: Orders rows of equal score, lower first, int64 [n + m].

        Raises:
            ValueError: If ``dead`` or ``tie_rank`` have another length.
        """
        if dead.shape != (base.count,):
            raise ValueError(f"expected dead as bool [{base.count}], got {list(dead.shape)}")
        check_tie_rank(tie_rank, count=base.count + len(delta))
        self._base, self._delta, self._tie_rank = base, delta, tie_rank
        self._alive = ~dead
        self._dead_count = int(np.count_nonzero(dead))

    @property
    def count(self) -> int:
        """Number of rows n + m, dead ones included."""
        return self._base.count + len(self._delta)

    @property
    def dim(self) -> int:
        """Dimension of the vectors and of the queries."""
        return self._base.dim

    def search(self, queries: FloatMatrix, k: int, *, eligible: BoolVector | None = None) -> Neighbors:
        """Find the ``k`` rows with the highest inner product among those that are there.

        Args:
            queries: float32 [q, d], finite, of any length.
            k: Rows wanted per query, at least 1; more than are there leaves empty places.
            eligible: Rows that may be returned, bool [n + m]; ``None`` means all. Dead ones never are.

        Returns:
            Exactly ``k`` places per query, best first; empty places hold row -1 and score -inf. Equal scores are
            ordered by the tie rank.

        Raises:
            ValueError: If ``k`` is below 1 or ``eligible`` does not have one entry per row.
            VectorError: If the queries have the wrong shape or dtype or are not finite.
        """
        queries, _ = check_search(queries, k, eligible, count=self.count, dim=self.dim)
        n = self._base.count
        if eligible is None:
            older, newer = self._search_base(queries, k), np.arange(len(self._delta))
        else:
            older = self._base.search(queries, k, eligible=eligible[:n] & self._alive)
            newer = np.flatnonzero(eligible[n:])
        return self._merged(queries, k, older, newer) if newer.size else older

    def _search_base(self, queries: FloatMatrix, k: int) -> Neighbors:
        """Find the best ``k`` rows of the base that are there: fetch more than ``k``, drop the dead ones."""
        if not self._dead_count:
            return self._base.search(queries, k)
        found = empty_neighbors(len(queries), k)
        alive = self._base.count - self._dead_count
        wanted = min(k, alive)
        fetch = math.ceil((k + _SPARE) * self._base.count / max(1, alive))
        pending = np.arange(len(queries))
        while pending.size and fetch <= self._base.count * _SCANNED_SHARE:
            answer = self._base.search(queries[pending], fetch)
            kept = [self._keep_alive(found, int(place), answer, i) for i, place in enumerate(pending)]
            pending = pending[np.array(kept) < wanted]
            fetch *= _GROWTH
        if pending.size:
            scanned = self._base.search(queries[pending], k, eligible=self._alive)
            found.scores[pending], found.rows[pending] = scanned.scores, scanned.rows
        return found

    def _keep_alive(self, found: Neighbors, place: int, answer: Neighbors, i: int) -> int:
        """Fill in what is there of the ``i``-th answer and return how many rows that are."""
        rows, scores = answer.rows[i], answer.scores[i]
        alive = np.flatnonzero((rows >= 0) & self._alive[rows])[: found.rows.shape[1]]
        found.rows[place, : len(alive)], found.scores[place, : len(alive)] = rows[alive], scores[alive]
        return len(alive)

    def _merged(self, queries: FloatMatrix, k: int, older: Neighbors, newer: IntVector) -> Neighbors:
        """Let the delta's rows ``newer`` (int64 [r]) compete with what the base found."""
        merged = empty_neighbors(len(queries), k)
        delta = self._delta if len(newer) == len(self._delta) else self._delta[newer]
        for place, query in enumerate(queries):
            filled = older.rows[place] >= 0
            rows = np.concatenate((older.rows[place, filled], newer + self._base.count))
            scores = np.concatenate((older.scores[place, filled], score_rows(query, delta)))
            best = best_first(scores, rows, k=k, tie_rank=self._tie_rank)
            merged.rows[place, : len(best)], merged.scores[place, : len(best)] = rows[best], scores[best]
        return merged
