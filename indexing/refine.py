"""What an index proposes is scored again, row by row, on the exact vectors: these scores decide.

So scores are the same for every kind of index, every batch size and every number of threads. When the cut falls among
rows that score the same, more are fetched until the score drops, and the tie rank decides.

Nearly all of what a search costs beside FAISS is here, on the way of every query, and every step in numpy counts: its
code has left the caches by the time that a graph has been walked. So there are two ways. `Refiner.quick` scores and
sorts by one call of FAISS, which is all that most queries need. `Refiner.settle` answers any: it keeps to filters and
asks for more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np

from indexing.distinct import DistinctRows
from indexing.exact import best_first, empty_neighbors
from indexing.scores import SHORTEST, best_rows, length_at_most, score_rows
from indexing.types import (
    BoolMatrix,
    BoolVector,
    FloatMatrix,
    FloatVector,
    IntMatrix,
    IntVector,
    Neighbors,
    Vectors,
)

_SURE = 2.0  # standard deviations of the error of codes that separate what is wanted from what was not proposed
SLACK = 4  # fetched beyond k, so that the drop after the k-th score is nearly always seen in the first round
# FAISS's float32 sums differ from `score_rows` by up to 1.2e-7 row by row and 6.6e-7 as a matrix product (measured: 90
# queries, 19,406 unit vectors of 384 dimensions). Ten times that costs no second round where vectors differ at all.
_TOLERANCE = 1e-5

Ask: TypeAlias = Callable[[FloatMatrix, int], tuple[FloatMatrix, IntMatrix]]
"""Takes queries [q, d] and how many to fetch; returns scores and numbers [q, fetch] as `Proposer.ask` does."""


class Outcome(Enum):
    """What came of one query's proposals."""

    settled = 0
    more = 1  # the cut falls among rows that may tie with others not fetched yet
    short = 2  # there are fewer rows than there must be: the index lost some, and more of it would not help


@dataclass(frozen=True, slots=True)
class Refiner:
    """Scores proposals exactly.

    Attributes:
        vectors: Of every row.
        distinct: Which rows hold which of the vectors that an index numbers.
        tie_rank: Orders rows of equal score, int64 [n]; ``None`` for the row.
        is_exact: No vector scores higher than the index says, but for rounding, so its scores show where a tie may end.
        matrix: The distinct vectors in the order of their numbers, float32 [u, d], where they lie so already.
    """

    vectors: Vectors
    distinct: DistinctRows
    tie_rank: IntVector | None
    is_exact: bool
    matrix: FloatMatrix | None

    def quick(
        self, queries: FloatMatrix, proposed: FloatMatrix, numbers: IntMatrix, *, k: int, length: float
    ) -> tuple[Neighbors, Sequence[int]]:
        """Answer the queries that leave nothing to settle.

        Args:
            queries: float32 [q, d].
            proposed: The index's own scores, float32 [q, p], best first.
            numbers: Of the vectors proposed, int64 [q, p]; -1 for none, at the end.
            k: Rows wanted.
            length: Of the query, where it is one.

        Returns:
            The answers, [q, k], and the places that were left empty for `settle`: too few vectors were proposed to see
            past the k-th, the cut falls among equal scores, or a vector that was not proposed may belong before it.
        """
        count = len(queries)
        if numbers.shape[1] <= k:
            return empty_neighbors(count, k), range(count)
        if self.matrix is not None:
            scores, best = best_rows(queries, self.matrix, numbers, k + 1)
        else:
            scores, best = self._best_gathered(queries, numbers, k + 1)
        if count == 1:
            lengths = [max(length, SHORTEST)]
        else:
            lengths = np.maximum(np.sqrt(np.vecdot(queries, queries)), SHORTEST).tolist()
        left = [
            place
            for place, own in enumerate(lengths)
            if numbers.item(place, -1) < 0
            or (self.is_exact and proposed.item(place, -1) >= scores.item(place, k - 1) - _TOLERANCE * own)
        ]
        if self.distinct.repeated.size:
            best = np.maximum(best, 0)  # where one is missing, its query is among those left
        rows = self.distinct.first_rows(best)
        found = Neighbors(np.ascontiguousarray(scores[:, :k]), np.ascontiguousarray(rows[:, :k]))
        equal = scores[:, 1:] == scores[:, :-1]
        if self.distinct.repeated.size or np.count_nonzero(equal):
            left = sorted({*left, *self._order(found, scores, best, equal)})
        for place in left:
            found.scores[place], found.rows[place] = -np.inf, -1
        return found, left

    def _order(self, found: Neighbors, scores: FloatMatrix, best: IntMatrix, equal: BoolMatrix) -> list[int]:
        """Bring equal scores and the rows of one vector into tie order.

        Args:
            found: Is corrected, [q, k].
            scores: Of ``best``, float32 [q, k + 1], best first.
            best: Numbers, int64 [q, k + 1].
            equal: Which scores are those before them, bool [q, k].

        Returns:
            The places whose cut falls among equal scores, of which there may be more.
        """
        repeated, k = self.distinct.repeated, found.rows.shape[1]
        unsettled = equal.any(axis=1)
        if repeated.size:
            unsettled |= repeated[best].any(axis=1)
        cut = []
        for place in np.flatnonzero(unsettled).tolist():
            if equal[place, -1]:
                cut.append(place)
                continue
            rows, own = self.distinct.expand(best[place], scores[place], k=k)
            ordered = not equal[place].any()  # by score, and within a vector by the tie rank
            order = slice(k) if ordered else best_first(own, rows, k=k, tie_rank=self.tie_rank)
            found.scores[place], found.rows[place] = own[order], rows[order]
        return cut

    def _best_gathered(self, queries: FloatMatrix, numbers: IntMatrix, k: int) -> tuple[FloatMatrix, IntMatrix]:
        """Do as `best_rows` on copies of the vectors, for queries of whose numbers none is -1."""
        scores, best = np.zeros((len(queries), k), np.float32), np.zeros((len(queries), k), np.int64)
        places = np.arange(numbers.shape[1])[np.newaxis]
        for place, own in enumerate(numbers):
            if own[-1] >= 0:
                query = queries[place : place + 1]
                scores[place], order = best_rows(query, self._gathered(own), places, k)
                best[place] = own[order[0]]
        return scores, best

    def settle(
        self,
        found: Neighbors,
        places: Sequence[int],
        queries: FloatMatrix,
        ask: Ask,
        *,
        fetch: int,
        most: int,
        wanted: int,
        eligible: BoolVector | None = None,
        sure: bool = False,
        first: tuple[FloatMatrix, IntMatrix] | None = None,
    ) -> list[int]:
        """Ask, score and fill in the answers to some queries; ask for more where a tie is cut.

        Args:
            found: Is filled in, [q, k].
            places: Which of ``queries`` are answered.
            queries: float32 [q, d].
            ask: The index.
            fetch: How many vectors it is asked for first.
            most: How many there are that it could return.
            wanted: Rows that an answer must have: k, or as many as there are.
            eligible: Every row that is not is dropped, whatever the index was told, bool [n].
            sure: Ask for more, too, while codes leave in doubt whether another vector belongs among the first k.
            first: What the index has answered already to all queries, when asked for ``fetch``.

        Returns:
            The places that must be answered by an exact scan, because too few of their rows were proposed.
        """
        pending, short = list(places), list[int]()
        while pending:
            fetch = min(fetch, most)
            if first is None:
                scores, numbers = ask(queries[pending] if len(pending) < len(queries) else queries, fetch)
            else:
                scores, numbers = first[0][pending], first[1][pending]
                first = None
            left = []
            for place, row_scores, row_numbers in zip(pending, scores, numbers, strict=True):
                outcome = self.fill(
                    found,
                    place,
                    queries[place],
                    row_scores,
                    row_numbers,
                    wanted=wanted,
                    eligible=eligible,
                    is_all=fetch == most,
                    sure=sure,
                )
                if outcome is Outcome.more:
                    left.append(place)
                elif outcome is Outcome.short:
                    short.append(place)
            pending, fetch = left, fetch * 2
        return short

    def fill(
        self,
        found: Neighbors,
        place: int,
        query: FloatVector,
        proposed: FloatVector,
        numbers: IntVector,
        *,
        wanted: int,
        eligible: BoolVector | None = None,
        is_all: bool = False,
        sure: bool = False,
    ) -> Outcome:
        """Fill in the answer to one query from what was proposed for it.

        Args:
            found: Is filled in at ``place``.
            place: Of the query.
            query: float32 [d].
            proposed: The index's own scores, float32 [p], best first.
            numbers: Of the vectors proposed, int64 [p]; -1 for none, at the end.
            wanted: As for `settle`.
            eligible: As for `settle`.
            is_all: There is nothing else that could be proposed.
            sure: As for `settle`.
        """
        if len(numbers) and numbers[-1] < 0:
            filled = numbers >= 0
            proposed, numbers = proposed[filled], numbers[filled]
        gathered = self.matrix[numbers] if self.matrix is not None else self._gathered(numbers)
        exact = score_rows(query, gathered)
        k = found.rows.shape[1]
        rows, scores = self.distinct.expand(numbers, exact, k=k if eligible is None else None)
        if eligible is not None:
            allowed = eligible[rows]
            rows, scores = rows[allowed], scores[allowed]
        best = best_first(scores, rows, k=k, tie_rank=self.tie_rank)
        if len(best) < wanted:
            return Outcome.short
        best_scores = scores[best]
        found.scores[place, : len(best)] = best_scores
        found.rows[place, : len(best)] = rows[best]
        last = best_scores[-1]
        if is_all or (
            self._is_clean(query, proposed, exact, last, scores, k)
            and (not sure or self.is_exact or _is_certain(proposed, exact, last))
        ):
            return Outcome.settled
        return Outcome.more

    def _gathered(self, numbers: IntVector) -> FloatMatrix:
        return self.vectors.take(self.distinct.first_rows(numbers))

    def _is_clean(
        self,
        query: FloatVector,
        proposed: FloatVector,
        exact: FloatVector,
        last: np.float32,
        scores: FloatVector,
        k: int,
    ) -> bool:
        """Whether no vector that was not proposed can tie with the k-th: the last proposed lies clearly below.

        Codes do not show that, so of them only a cut that falls between equal scores is looked into.
        """
        if not self.is_exact and np.count_nonzero(scores >= last) <= k:
            return True
        least = min(last, proposed[exact == last].min())
        return bool(proposed[-1] < least - _TOLERANCE * length_at_most(query))


def _is_certain(proposed: FloatVector, exact: FloatVector, last: np.float32) -> bool:
    """Whether codes err too little for a row that was not proposed to belong among the first k, by all likelihood.

    What a filter leaves may lie so close together, by score, that codes can hardly tell it apart. How far they are off
    is seen on what they proposed.
    """
    errors = exact - proposed
    return bool(last >= proposed[-1] + errors.mean() + _SURE * errors.std())
