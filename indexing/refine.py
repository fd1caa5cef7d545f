"""What an index proposes is scored again, row by row, on the exact vectors: these scores decide.

So scores are the same for every kind of index, every batch size and every number of threads. When the cut falls among
rows that score the same, more are fetched until the score drops, and the tie rank decides.

Nearly all of what a search costs beside FAISS is here, on the way of every query. So vectors that all differ take a
path without bookkeeping, ties are looked for before they are sorted out, and no more rows are gathered than decide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np

from indexing.distinct import DistinctRows
from indexing.exact import best_first, score_rows
from indexing.types import BoolVector, FloatMatrix, FloatVector, IntMatrix, IntVector, Neighbors, Vectors

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
        is_exact: An index's own scores are those of the vectors but for rounding, so they show where a tie may end.
    """

    vectors: Vectors
    distinct: DistinctRows
    tie_rank: IntVector | None
    is_exact: bool

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

        Returns:
            The places that must be answered by an exact scan, because too few of their rows were proposed.
        """
        pending, short = list(places), list[int]()
        while pending:
            fetch = min(fetch, most)
            scores, numbers = ask(queries[pending] if len(pending) < len(queries) else queries, fetch)
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
        exact = score_rows(query, self.vectors.take(self.distinct.first_rows(numbers)))
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
        tied = proposed[exact == last]
        return bool(proposed[-1] < tied.min() - _TOLERANCE * float(np.sqrt(np.vecdot(query, query))))


def _is_certain(proposed: FloatVector, exact: FloatVector, last: np.float32) -> bool:
    """Whether codes err too little for a row that was not proposed to belong among the first k, by all likelihood.

    What a filter leaves may lie so close together, by score, that codes can hardly tell it apart. How far they are off
    is seen on what they proposed.
    """
    errors = exact - proposed
    return bool(last >= proposed[-1] + errors.mean() + _SURE * errors.std())
