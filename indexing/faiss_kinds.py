"""The kinds of FAISS index that are built and read: their parameters, their construction, how they are searched."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from indexing.config import (
    DEFAULT_EF_SEARCH,
    FlatConfig,
    HnswConfig,
    HnswSq8Config,
    IndexConfig,
    IvfPqConfig,
    IvfRabitqConfig,
    IvfSq8Config,
)
from indexing.errors import ConfigError
from indexing.types import BoolVector, FloatMatrix, IntVector

faiss: Any = _faiss  # its own stubs know half of its names
Parameters: TypeAlias = Mapping[str, int | float]

_log = logging.getLogger(__name__)

_UNEVEN = 1.5
"""Lists differ in length; those near a query may hold so many times fewer vectors than the average."""

_MOST = 2**31 - 1  # what FAISS takes for a width; a search is never asked for as many rows

PQ_CENTROIDS = 256  # codes of 8 bits: one byte per sub-quantiser, and the fastest look-up FAISS has
_TRAIN_ROWS_PER_LIST = 64  # FAISS asks for 39 to 256 per centroid; recall did not move between 64 and 256 (19,406 rows)
_TRAIN_ROWS = 65_536  # 256 for each of the 256 centroids of a product quantiser; also what small catalogues train on


_GRAPH = frozenset({"links", "ef_construction", "ef_search", "seed"})
_LISTS = frozenset({"lists", "probes", "refine_factor", "seed"})

SEARCH_PARAMETERS: Mapping[str, frozenset[str]] = {
    "flat": frozenset(),
    "hnsw": frozenset({"ef_search"}),
    "hnsw_sq8": frozenset({"ef_search", "refine_factor"}),
    "ivf_sq8": frozenset({"probes", "refine_factor"}),
    "ivf_pq": frozenset({"probes", "refine_factor"}),
    "ivf_rabitq": frozenset({"probes", "refine_factor"}),
}
"""Kind -> the parameters that may change after the build."""

_PARAMETERS: Mapping[str, frozenset[str]] = {
    "flat": frozenset(),
    "hnsw": _GRAPH,
    "hnsw_sq8": _GRAPH | {"refine_factor"},
    "ivf_sq8": _LISTS,
    "ivf_pq": _LISTS | {"code_bytes"},
    "ivf_rabitq": _LISTS | {"bits"},
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be built.

    Attributes:
        kind: ``flat``, ``hnsw``, ``hnsw_sq8``, ``ivf_sq8``, ``ivf_pq`` or ``ivf_rabitq``.
        parameters: Every parameter of build and search, resolved.
    """

    kind: str
    parameters: Parameters

    @property
    def refine_factor(self) -> float:
        """How many times k are fetched before the exact scores decide; 1 where the index has the exact vectors."""
        return self.parameters.get("refine_factor", 1.0)

    @property
    def is_exact(self) -> bool:
        """Whether the index holds the vectors themselves, and not codes of them."""
        return self.kind in ("flat", "hnsw")

    @property
    def effort(self) -> str:
        """The parameter that trades recall for speed: ``ef_search`` or ``probes``; empty for a kind without one."""
        return next((name for name in ("ef_search", "probes") if name in self.parameters), "")


def plan(config: IndexConfig, *, count: int, dim: int) -> Plan:
    """Resolve what the configuration leaves open.

    Args:
        config: One of the kinds; ``auto`` must have been resolved before.
        count: Distinct vectors to be indexed, at least 1.
        dim: Their dimension.

    Raises:
        ConfigError: If the kind cannot be built over so few vectors or this dimension.
    """
    match config:
        case FlatConfig():
            return Plan("flat", {})
        case HnswConfig():
            return Plan("hnsw", _graph(config))
        case HnswSq8Config():
            return Plan("hnsw_sq8", {**_graph(config), "refine_factor": config.refine_factor})
        case IvfSq8Config():
            return Plan("ivf_sq8", _inverted_lists(config, count))
        case IvfRabitqConfig():
            return Plan("ivf_rabitq", {**_inverted_lists(config, count), "bits": config.bits})
        case IvfPqConfig():
            if count < PQ_CENTROIDS:
                raise ConfigError(
                    f"index=ivf_pq needs at least {PQ_CENTROIDS} distinct vectors to train its codes, got {count}; "
                    f"use index=flat, which is exact and small at this size"
                )
            return Plan("ivf_pq", {**_inverted_lists(config, count), "code_bytes": _code_bytes(config.code_bytes, dim)})
    raise ConfigError(f"expected the configuration of one of {', '.join(_PARAMETERS)}, got {type(config).__name__}")


def checked_plan(kind: str, parameters: Parameters) -> Plan:
    """Return the plan that was written to disk.

    Raises:
        ValueError: If there is no such kind, or its parameters are others or not numbers.
    """
    if kind not in _PARAMETERS or not isinstance(parameters, dict) or parameters.keys() != _PARAMETERS[kind]:
        raise ValueError(f"no kind of index is {kind!r} with parameters {parameters}")
    for name, value in parameters.items():
        kinds = int | float if name == "refine_factor" else int
        if not isinstance(value, kinds) or isinstance(value, bool) or not 0 <= value < _MOST:
            raise ValueError(f"{name} of {kind} must be a number from 0 to {_MOST}, got {value!r:.100}")
    return Plan(kind, parameters)


def construct(plan: Plan, *, dim: int) -> Any:  # noqa: ANN401 - faiss has no types
    """Return the empty FAISS index of a plan; inner product throughout (the default of FAISS is a distance)."""
    values, metric = plan.parameters, faiss.METRIC_INNER_PRODUCT
    if plan.kind == "flat":
        return faiss.IndexFlatIP(dim)
    if plan.kind in ("hnsw", "hnsw_sq8"):
        if plan.kind == "hnsw":
            graph = faiss.IndexHNSWFlat(dim, values["links"], metric)
        else:
            graph = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, values["links"], metric)
        graph.hnsw.efConstruction = values["ef_construction"]
        graph.hnsw.rng = faiss.RandomGenerator(values["seed"])
        return graph
    centroids = faiss.IndexFlatIP(dim)
    if plan.kind == "ivf_sq8":
        index = faiss.IndexIVFScalarQuantizer(centroids, dim, values["lists"], faiss.ScalarQuantizer.QT_8bit, metric)
    elif plan.kind == "ivf_rabitq":
        index = faiss.IndexIVFRaBitQ(centroids, dim, values["lists"], metric, True, values["bits"])
    else:
        index = faiss.IndexIVFPQ(centroids, dim, values["lists"], values["code_bytes"], 8, metric)
        _seed(index.pq.cp, values)
    _seed(index.cp, values)
    return index


def training_rows(plan: Plan, *, count: int) -> IntVector | None:
    """Return which of ``count`` vectors to train on, in order, or ``None`` for a kind that needs no training."""
    if plan.is_exact:
        return None
    size = max(_TRAIN_ROWS, _TRAIN_ROWS_PER_LIST * int(plan.parameters.get("lists", 0)))
    if count <= size:
        return np.arange(count, dtype=np.int64)
    generator = np.random.default_rng(int(plan.parameters["seed"]))
    return np.sort(generator.choice(count, size=size, replace=False)).astype(np.int64)


def search_parameters(plan: Plan) -> Any:  # noqa: ANN401 - faiss has no types
    """Return what search calls need; never changed once made, so threads may share it."""
    values = plan.parameters
    if "ef_search" in values:
        return faiss.SearchParametersHNSW(efSearch=values["ef_search"])
    if "probes" in values:
        return faiss.SearchParametersIVF(nprobe=values["probes"])
    return None


def widened(plan: Plan, factor: float) -> Plan:
    """Return a plan whose search looks at ``factor`` times as many vectors; itself for a kind that sees all."""
    values = plan.parameters
    if "ef_search" in values:
        return tuned(plan, {"ef_search": min(_MOST, math.ceil(values["ef_search"] * factor))})
    if "probes" in values:
        return tuned(plan, {"probes": int(min(values["lists"], math.ceil(values["probes"] * factor)))})
    return plan


def holding(plan: Plan, k: int, *, count: int) -> Plan:
    """Return a plan that visits lists enough to hold ``k`` of ``count`` vectors; itself where it does, or has none.

    How many lists are visited is chosen for the recall of some k. A search for ten times as many would find too few
    in them, and be answered by an exact scan.
    """
    values = plan.parameters
    if "probes" not in values:
        return plan
    needed = math.ceil(_UNEVEN * k * values["lists"] / count)
    return plan if needed <= values["probes"] else tuned(plan, {"probes": min(int(values["lists"]), needed)})


def exhaustive(index: Any, plan: Plan, selector: Any) -> tuple[Any, Any]:  # noqa: ANN401 - faiss has no types
    """Return the part of an index that compares a query with every selected vector or code, and how to ask it.

    Whatever the filter, and wherever its rows lie: what is below a graph, all inverted lists, or the vectors.
    """
    if "ef_search" in plan.parameters:
        return faiss.downcast_index(index.storage), faiss.SearchParameters(sel=selector)
    if "probes" in plan.parameters:
        return index, faiss.SearchParametersIVF(nprobe=plan.parameters["lists"], sel=selector)
    return index, faiss.SearchParameters(sel=selector)


def held_vectors(index: Any, plan: Plan) -> FloatMatrix | None:  # noqa: ANN401 - faiss has no types
    """Return the vectors that an index holds, float32 [u, d], as a view to be dropped before it; None for codes."""
    if not plan.is_exact:
        return None
    flat = index if plan.kind == "flat" else faiss.downcast_index(index.storage)
    vectors: FloatMatrix = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
    return vectors


def graph_arrays(index: Any, plan: Plan) -> tuple[npt.NDArray[Any], ...]:  # noqa: ANN401 - faiss has no types
    """Return what a walk through a graph reads, its links and what lies below it, as views; nothing for other kinds."""
    if plan.effort != "ef_search":
        return ()
    parts = index.hnsw.neighbors, faiss.downcast_index(index.storage).codes
    return tuple(faiss.rev_swig_ptr(part.data(), part.size()) for part in parts if part.size())


def selecting(numbers: BoolVector) -> Any:  # noqa: ANN401 - faiss has no types
    """Return a selector of the vectors that are true, bool [u]; it keeps the bitmap alive."""
    return faiss.IDSelectorBitmap(np.packbits(numbers, bitorder="little"))


def tuned(plan: Plan, parameters: Parameters) -> Plan:
    """Return a plan with other search parameters.

    Raises:
        ValueError: If the kind has no such parameter to search by, or a value is below 1.
    """
    unknown = sorted(parameters.keys() - SEARCH_PARAMETERS[plan.kind])
    if unknown:
        there = ", ".join(sorted(SEARCH_PARAMETERS[plan.kind])) or "none"
        raise ValueError(f"{plan.kind} is searched by {there}, got {', '.join(unknown)}")
    if min(parameters.values(), default=1) < 1:
        raise ValueError(f"search parameters must be at least 1, got {dict(parameters)}")
    return Plan(plan.kind, {**plan.parameters, **parameters})


def _graph(config: HnswConfig | HnswSq8Config) -> dict[str, int | float]:
    return {
        "links": config.links,
        "ef_construction": config.ef_construction,
        "ef_search": config.ef_search or DEFAULT_EF_SEARCH,
        "seed": config.seed,
    }


def version() -> str:
    """Return the version of FAISS."""
    return str(faiss.__version__)


def _inverted_lists(config: IvfSq8Config | IvfPqConfig | IvfRabitqConfig, count: int) -> dict[str, int | float]:
    """Resolve lists and probes; see `indexing.config` for what the defaults were measured to give."""
    lists = max(1, min(config.lists or round(4 * math.sqrt(count)), count))
    if lists < config.lists:
        _log.warning(
            "index.lists=%d is more than the %d distinct vectors: %d lists are made", config.lists, count, lists
        )
    probes = min(config.probes or max(8, math.ceil(lists / 2)), lists)
    return {"lists": lists, "probes": probes, "refine_factor": config.refine_factor, "seed": config.seed}


def _code_bytes(wanted: int, dim: int) -> int:
    divisors = [size for size in range(1, dim + 1) if dim % size == 0]
    if wanted == 0:
        return max(size for size in divisors if size <= max(1, dim // 8))
    if wanted not in divisors:
        near = sorted(sorted(divisors, key=lambda size: abs(size - wanted))[:3])
        raise ConfigError(f"index.code_bytes={wanted} does not divide the dimension {dim}; near it are {near}")
    return wanted


def _seed(clustering: Any, parameters: Parameters) -> None:  # noqa: ANN401 - faiss has no types
    clustering.seed = parameters["seed"]
    clustering.min_points_per_centroid = 1  # small catalogues are meant to work; recall is measured after the build
