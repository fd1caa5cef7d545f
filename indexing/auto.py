"""Choosing an index from the number of products, the memory allowed and the share of filtered queries, and saying why.

Of the kinds that fit, the one with the least expected time per query is chosen, by the costs of
`indexing.filter_plan`; a filtered query counts as the mean over what a filter may leave, from half to a thousandth.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from indexing.config import (
    AutoConfig,
    FlatConfig,
    HnswConfig,
    HnswSq8Config,
    IndexConfig,
    IvfPqConfig,
    IvfRabitqConfig,
    IvfSq8Config,
)
from indexing.errors import ConfigError
from indexing.faiss_file import rabitq_bytes
from indexing.faiss_kinds import PQ_CENTROIDS, Plan, plan, tuned
from indexing.filter_plan import plan_filter, unfiltered_us

# Up to here brute force is exact and fast: .8 ms a query for 19,406 x 384 on a Zen 4 core (`indexing.coded_scan`), so
# about 4 ms.
FLAT_ROWS = 100_000

_MEMORY_SHARE = 0.5  # of what is free: the models, the product table and the mapped vectors need the other half
_ID_BYTES = 8  # FAISS keeps an int64 per vector in inverted lists
_GRAPH_NODE_BYTES = 16  # offsets, level, and the few links above the ground layer
# What recall@100 of .95 took on 53,460 Home Depot titles and shoppers' queries: a beam of 120, 126 of 925 lists.
_BEAM = 1.2  # in units of k
_PROBED = 0.14
_SELECTIVITIES = (0.5, 0.1, 0.01, 0.001)


@dataclass(frozen=True, slots=True)
class Choice:
    """An index configuration and the reason for it, in words for the person who builds."""

    config: IndexConfig
    reason: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A kind that could be built: its name, configuration, and bytes per vector."""

    name: str
    config: IndexConfig
    row_bytes: int


def choose_index(config: AutoConfig, *, count: int, dim: int) -> Choice:
    """Choose the kind of index that answers fastest among those that fit into memory.

    Up to `FLAT_ROWS` vectors that is an exact scan, which needs no tuning and misses nothing, where it fits.

    Args:
        config: Its gate, seed and memory limit are handed on.
        count: Number of vectors.
        dim: Their dimension.

    Raises:
        ConfigError: If not even the smallest kind fits.
    """
    allowed = int(config.memory_gb * 2**30) or int(_free_bytes() * _MEMORY_SHARE)
    candidates = _candidates(config, count, dim)
    fitting = [candidate for candidate in candidates if count * candidate.row_bytes <= allowed]
    if not fitting:
        least = min(candidate.row_bytes for candidate in candidates)
        raise ConfigError(
            f"no index over {count:,} vectors of dimension {dim} fits into {allowed / 2**20:,.1f} MiB: the smallest "
            f"takes {count * least / 2**20:,.1f} MiB; raise index.memory_gb"
        )
    if fitting[0].name == "flat" and count <= FLAT_ROWS:
        chosen, why = fitting[0], f"up to {FLAT_ROWS:,} vectors an exact scan is fast enough"
    else:
        costs = {candidate.name: _expected_us(candidate, config, count, dim) for candidate in fitting}
        chosen = min(fitting, key=lambda candidate: costs[candidate.name])
        why = _reason(chosen, candidates, fitting, costs, config)
    sizes = f"{count * chosen.row_bytes / 2**20:,.1f} MiB of {allowed / 2**20:,.1f} MiB allowed"
    return Choice(chosen.config, f"{chosen.name} for {count:,} vectors of dimension {dim}: {why} ({sizes})")


def _candidates(config: AutoConfig, count: int, dim: int) -> list[_Candidate]:
    """Return every kind that could be built, with the gate and seed of ``config``."""
    shared = {field.name: getattr(config, field.name) for field in fields(IndexConfig)}
    graph, small = HnswConfig(**shared), HnswSq8Config(**shared)
    bits = IvfRabitqConfig(**shared)
    found = [
        _Candidate("flat", FlatConfig(**shared), dim * 5),
        _Candidate("hnsw", graph, dim * 4 + graph.links * 8 + _GRAPH_NODE_BYTES),
        _Candidate("hnsw_sq8", small, dim + small.links * 8 + _GRAPH_NODE_BYTES),
        _Candidate("ivf_sq8", IvfSq8Config(**shared), dim + _ID_BYTES),
        _Candidate("ivf_rabitq", bits, rabitq_bytes(dim, bits.bits) + _ID_BYTES),
    ]
    if count >= PQ_CENTROIDS:
        found.append(_Candidate("ivf_pq", IvfPqConfig(**shared), max(1, dim // 8) + _ID_BYTES))
    return found


def _expected_us(candidate: _Candidate, config: AutoConfig, count: int, dim: int) -> float:
    """Return the expected microseconds of a query, filtered or not."""
    k = config.recall_k
    planned = expected_plan(candidate.config, count=count, dim=dim, k=k)
    plain = unfiltered_us(planned, count=count, dim=dim, k=k)
    filtered = [
        plan_filter(planned, count=count, eligible=max(1, round(share * count)), dim=dim, k=k).cost_us
        for share in _SELECTIVITIES
    ]
    return plain + config.filtered_share * (sum(filtered) / len(filtered) - plain)


def expected_plan(config: IndexConfig, *, count: int, dim: int, k: int) -> Plan:
    """Return a plan as the build will probably come to search it: how wide is only chosen once the index is there."""
    planned = plan(config, count=count, dim=dim)
    if planned.effort == "ef_search":
        return tuned(planned, {"ef_search": math.ceil(_BEAM * k)})
    if planned.effort == "probes":
        return tuned(planned, {"probes": math.ceil(_PROBED * planned.parameters["lists"])})
    return planned


def _reason(
    chosen: _Candidate,
    candidates: Sequence[_Candidate],
    fitting: Sequence[_Candidate],
    costs: dict[str, float],
    config: AutoConfig,
) -> str:
    left_out = [candidate.name for candidate in candidates if candidate not in fitting]
    others = [f"{name} {us / 1000:.2f}" for name, us in costs.items() if name != chosen.name]
    why = f"about {costs[chosen.name] / 1000:.2f} ms a query with {config.filtered_share:.0%} of them filtered"
    if others:
        why += f", against {', '.join(others)}"
    return why + (f"; {', '.join(left_out)} would not fit" if left_out else "")


def _free_bytes() -> int:
    """Return the memory that can be used without swapping; Linux's own estimate where there is one."""
    estimate = Path("/proc/meminfo")
    lines = estimate.read_text(encoding="ascii").splitlines() if estimate.is_file() else []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
