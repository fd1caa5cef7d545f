"""How a filtered search is answered: which of three ways is the cheapest, from what each costs by measurement.

- ``scan``: the exact vectors of the eligible rows are compared with the query, one by one.
- ``select``: FAISS compares the query with every eligible vector or code in the index, through a selector, and the best
  are scored again exactly. It misses nothing, wherever the eligible rows lie; only codes can put a row too low.
- ``overfetch``: the index is searched as without a filter, but wider by as much as the filter leaves out, and what is
  not eligible is dropped. Its answer is the unfiltered one with gaps, so its recall is that of the unfiltered search at
  that depth, unless the eligible rows lie farther from the query than by chance; then too few of them are found, which
  shows, and the query is answered by ``select``.

A graph is not searched through a selector: FAISS walks it as if nothing were filtered and its beam counts vectors that
may not be returned (``HNSW.cpp`` of FAISS 1.15), so where eligible rows are rare or far away it ends before it meets
them, and nothing in the answer shows it.

Constants: processor time on a Zen 4 core, at 128 and 384 dimensions, 50,000 vectors, with other work on the machine,
which slows all of them. ``tools/bench/speed/filter_costs.py`` measures them anew. Only their ratios decide.
"""

import math
from dataclasses import dataclass
from enum import Enum

from indexing.faiss_kinds import Plan
from indexing.refine import SLACK

SPARE = 1.25
"""Over-fetching asks for so many times what chance would need: the number found varies, and one too few costs a second
search."""

CODE_REFINE = 2.0
"""Least refinement of what codes select: the rows among them lie closer together than those of an unfiltered answer."""


class Way(Enum):
    """How a filtered search is answered."""

    scan = "scan"
    select = "select"
    overfetch = "overfetch"


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """The way that was chosen.

    Attributes:
        way: How.
        cost_us: What it is expected to take for one query, in microseconds.
        fetch: Vectors that the index is asked for; 0 for a scan.
        widen: How many times wider than without a filter the index is searched.
    """

    way: Way
    cost_us: float
    fetch: int = 0
    widen: float = 1.0


@dataclass(frozen=True, slots=True)
class _Cost:
    """Nanoseconds of one thing as a line in the dimension."""

    fixed: float
    per_dim: float

    def ns(self, dim: int) -> float:
        return self.fixed + self.per_dim * dim


_GATHER = _Cost(0.0, 0.95)  # one exact vector, copied from where it lies
_DOT = _Cost(10.0, 0.05)  # its inner product
_CALL_US = 60.0  # what any search costs before and after it looks at vectors
_MEMBER_NS = 2.5  # asking a selector about one vector
_SELECTED: dict[str, _Cost] = {
    "flat": _Cost(80.0, 0.54),
    "hnsw": _Cost(80.0, 0.54),
    "hnsw_sq8": _Cost(9.0, 0.52),
    "ivf_sq8": _Cost(9.0, 0.52),
    "ivf_pq": _Cost(0.0, 0.19),
    "ivf_rabitq": _Cost(65.0, 0.86),
}
"""Comparing a query with one vector or code that is eligible."""

_STEP: dict[str, _Cost] = {"hnsw": _Cost(700.0, 6.0), "hnsw_sq8": _Cost(300.0, 4.4)}
"""One place in the beam of a graph: the neighbours of the vector that takes it are compared with the query."""

_SEEN_NS = 30.0  # one vector that was fetched, looked up in the filter


def plan_filter(plan: Plan, *, count: int, eligible: int, dim: int, k: int, queries: int = 1) -> FilterPlan:
    """Choose the cheapest of `every_way`."""
    ways = every_way(plan, count=count, eligible=eligible, dim=dim, k=k, queries=queries)
    return min(ways, key=lambda way: way.cost_us)


def every_way(plan: Plan, *, count: int, eligible: int, dim: int, k: int, queries: int = 1) -> list[FilterPlan]:
    """Return each way there is to answer.

    Args:
        plan: The index and how wide it is searched.
        count: Vectors in the index, at least 1.
        eligible: Those that the filter lets through, at least 1.
        dim: Dimension.
        k: Rows wanted per query.
        queries: Queries that share the filter; a scan reads each vector once for all of them.
    """
    ways = [_scan(eligible, dim, queries), _select(plan, count, eligible, dim, k)]
    if plan.effort:  # one without sees every vector anyway, and a selector spares it most of them
        ways.append(_overfetch(plan, count, eligible, dim, k))
    return ways


def selected_fetch(plan: Plan, k: int) -> int:
    """Return how many of the selected vectors are scored again to find the best ``k``."""
    return math.ceil(k * (1.0 if plan.is_exact else max(CODE_REFINE, plan.refine_factor))) + SLACK


def unfiltered_us(plan: Plan, *, count: int, dim: int, k: int) -> float:
    """Return what a search without a filter is expected to take for one query, in microseconds."""
    return _CALL_US + (_looking_ns(plan, 1.0, count, dim) + _refined(plan, k) * _rescored_ns(dim)) / 1000


def scan_us(*, rows: int, dim: int) -> float:
    """Return what an exact scan of so many rows is expected to take for one query, in microseconds."""
    return _scan(rows, dim, 1).cost_us


def _scan(eligible: int, dim: int, queries: int) -> FilterPlan:
    row_ns = _GATHER.ns(dim) / queries + _DOT.ns(dim)
    return FilterPlan(Way.scan, _CALL_US + eligible * row_ns / 1000)


def _select(plan: Plan, count: int, eligible: int, dim: int, k: int) -> FilterPlan:
    fetch = min(eligible, selected_fetch(plan, k))
    looking = count * _MEMBER_NS + eligible * _SELECTED[plan.kind].ns(dim)
    return FilterPlan(Way.select, _CALL_US + (looking + fetch * _rescored_ns(dim)) / 1000, fetch)


def _overfetch(plan: Plan, count: int, eligible: int, dim: int, k: int) -> FilterPlan:
    widen = SPARE * max(1.0, count / eligible)
    fetch = min(count, math.ceil(_refined(plan, k) * widen))
    looking = _looking_ns(plan, widen, count, dim) + fetch * _SEEN_NS
    cost = _CALL_US + (looking + _refined(plan, k) * _rescored_ns(dim)) / 1000
    return FilterPlan(Way.overfetch, cost, fetch, widen)


def _looking_ns(plan: Plan, widen: float, count: int, dim: int) -> float:
    """Nanoseconds in which the index itself finds its proposals when it is searched so many times wider."""
    parameters = plan.parameters
    if "ef_search" in parameters:
        return min(count, parameters["ef_search"] * widen) * _STEP[plan.kind].ns(dim)
    share = min(1.0, parameters["probes"] * widen / parameters["lists"]) if "probes" in parameters else 1.0
    return share * count * _SELECTED[plan.kind].ns(dim)


def _refined(plan: Plan, k: int) -> int:
    return math.ceil(k * plan.refine_factor) + SLACK


def _rescored_ns(dim: int) -> float:
    return _GATHER.ns(dim) + _DOT.ns(dim)
