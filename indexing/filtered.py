"""Filtered search: never a row that is not eligible, ``k`` rows whenever there are, recall as without a filter.

`indexing.filter_plan` chooses how. Whatever proposes rows, each is looked up in the filter before it is returned: an
index may ignore a selector (FAISS's GPU indexes without cuVS accept one and do).
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from threading import Lock
from weakref import ref

import numpy as np

from indexing.exact import ExactIndex, empty_neighbors
from indexing.faiss_kinds import widened
from indexing.filter_plan import FilterPlan, Way, plan_filter, selected_fetch
from indexing.forks import claim_threads
from indexing.proposals import Proposer
from indexing.refine import SLACK, Outcome, Refiner
from indexing.threads import keep_budget
from indexing.types import BoolVector, FloatMatrix, Neighbors

_KEPT = 16  # filters whose vectors are kept; a bit more than a page of facets, and a byte per vector each


class FilteredSearch:
    """Searches an index among eligible rows; any number of threads may."""

    def __init__(self, proposer: Proposer, refiner: Refiner, exact: ExactIndex) -> None:
        """Take the parts of an index: what proposes, what scores, and what both are held against."""
        self._proposer, self._refiner, self._exact = proposer, refiner, exact
        self._kept: OrderedDict[int, tuple[ref[BoolVector], BoolVector]] = OrderedDict()
        self._keeping = Lock()

    def plan(self, eligible: int, *, k: int, queries: int = 1) -> FilterPlan:
        """Say how a filter that lets through so many rows, at least 1, is answered."""
        distinct = self._refiner.distinct
        # Rows that share a vector are eligible or not without regard to each other, as far as anybody knows.
        vectors = max(1, round(eligible * distinct.count / self._exact.count))
        return plan_filter(
            self._proposer.plan, count=distinct.count, eligible=vectors, dim=self._exact.dim, k=k, queries=queries
        )

    def search(self, queries: FloatMatrix, k: int, eligible: BoolVector) -> Neighbors:
        """Find ``k`` of the eligible rows for every query, as `VectorIndex.search`; the arguments were checked."""
        there = int(np.count_nonzero(eligible))
        if there == 0 or not len(queries):
            return empty_neighbors(len(queries), k)
        chosen = self.plan(there, k=k, queries=len(queries))
        if chosen.way is Way.scan or there <= k:
            return self._exact.search(queries, k, eligible=eligible)
        claim_threads()
        keep_budget()
        found, wanted = empty_neighbors(len(queries), k), min(k, there)
        left: Sequence[int] = range(len(queries))
        if chosen.way is Way.overfetch:
            left = self._overfetch(found, queries, eligible, chosen, wanted)
        if left:
            left = self._select(found, left, queries, eligible, wanted)
        for place in left:
            answer = self._exact.search(queries[place : place + 1], k, eligible=eligible)
            found.scores[place], found.rows[place] = answer.scores[0], answer.rows[0]
        return found

    def _overfetch(
        self, found: Neighbors, queries: FloatMatrix, eligible: BoolVector, chosen: FilterPlan, wanted: int
    ) -> list[int]:
        """Search wider and drop what is not eligible; return the places where too few rows were left."""
        proposer = self._proposer.searching(widened(self._proposer.plan, chosen.widen))
        scores, numbers = proposer.ask(queries, chosen.fetch)
        selected, left = self._selected(eligible), list[int]()
        needed = math.ceil(wanted * proposer.plan.refine_factor)
        for place in range(len(queries)):
            hits = np.flatnonzero(selected[numbers[place]] & (numbers[place] >= 0))[: needed + SLACK]
            outcome = Outcome.short
            if len(hits) >= needed:
                proposed = scores[place][hits], numbers[place][hits]
                outcome = self._refiner.fill(found, place, queries[place], *proposed, wanted=wanted, eligible=eligible)
            if outcome is not Outcome.settled:
                left.append(place)
        return left

    def _select(
        self, found: Neighbors, places: Sequence[int], queries: FloatMatrix, eligible: BoolVector, wanted: int
    ) -> list[int]:
        """Let FAISS compare every eligible vector; return the places where too few rows came back."""
        selected = self._selected(eligible)
        return self._refiner.settle(
            found,
            places,
            queries,
            partial(self._proposer.ask_among, selected),
            fetch=selected_fetch(self._proposer.plan, found.rows.shape[1]),
            most=int(np.count_nonzero(selected)),
            wanted=wanted,
            eligible=eligible,
            sure=True,
        )

    def _selected(self, eligible: BoolVector) -> BoolVector:
        """Return which vectors some eligible row holds, bool [u]; kept for a filter that can no longer change."""
        distinct = self._refiner.distinct
        if distinct.is_plain:
            return eligible
        if eligible.flags.writeable:
            return distinct.holding(eligible)
        with self._keeping:
            kept = self._kept.get(id(eligible))
            if kept is not None and kept[0]() is eligible:
                self._kept.move_to_end(id(eligible))
                return kept[1]
        selected = distinct.holding(eligible)
        with self._keeping:
            self._kept[id(eligible)] = (ref(eligible), selected)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return selected
