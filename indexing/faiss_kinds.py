"""The four kinds of FAISS index that are built and read: their parameters, their construction, their files."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import faiss as _faiss
import numpy as np

from indexing import storage
from indexing.config import FlatConfig, HnswConfig, IndexConfig, IvfPqConfig, IvfSq8Config
from indexing.errors import ArtifactCorrupt, ConfigError
from indexing.faiss_file import check_faiss_file
from indexing.types import IntVector

faiss: Any = _faiss  # its own stubs know half of its names
Parameters: TypeAlias = Mapping[str, int | float]

_log = logging.getLogger(__name__)

_MOST = 2**31 - 1  # what FAISS takes for a width; a search is never asked for as many rows

PQ_CENTROIDS = 256  # codes of 8 bits: one byte per sub-quantiser, and the fastest look-up FAISS has
_TRAIN_ROWS_PER_LIST = 64  # FAISS asks for 39 to 256 per centroid; recall did not move between 64 and 256 (19,406 rows)
_TRAIN_ROWS = 65_536  # 256 for each of the 256 centroids of a product quantiser; also what small catalogues train on


@dataclass(frozen=True, slots=True)
class _File:
    """How a kind looks on disk (first four bytes: ``index_write.cpp`` of FAISS 1.15), once read, and in its record."""

    fourcc: bytes
    class_name: str
    parameters: frozenset[str]


_LISTS = frozenset({"lists", "probes", "refine_factor", "seed"})

SEARCH_PARAMETERS: Mapping[str, frozenset[str]] = {
    "flat": frozenset(),
    "hnsw": frozenset({"ef_search"}),
    "ivf_sq8": frozenset({"probes", "refine_factor"}),
    "ivf_pq": frozenset({"probes", "refine_factor"}),
}
"""Kind -> the parameters that may change after the build."""

_FILES = {
    "flat": _File(b"IxFI", "IndexFlatIP", frozenset()),
    "hnsw": _File(b"IHNf", "IndexHNSWFlat", frozenset({"links", "ef_construction", "ef_search", "seed"})),
    "ivf_sq8": _File(b"IwSq", "IndexIVFScalarQuantizer", _LISTS),
    "ivf_pq": _File(b"IwPQ", "IndexIVFPQ", _LISTS | {"code_bytes"}),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be built.

    Attributes:
        kind: ``flat``, ``hnsw``, ``ivf_sq8`` or ``ivf_pq``.
        parameters: Every parameter of build and search, resolved.
    """

    kind: str
    parameters: Parameters

    @property
    def refine_factor(self) -> float:
        """How many times k are fetched before the exact scores decide; 1 where the index has the exact vectors."""
        return self.parameters.get("refine_factor", 1.0)


def plan(config: IndexConfig, *, count: int, dim: int) -> Plan:
    """Resolve what the configuration leaves open.

    Args:
        config: One of the four kinds; ``auto`` must have been resolved before.
        count: Distinct vectors to be indexed, at least 1.
        dim: Their dimension.

    Raises:
        ConfigError: If the kind cannot be built over so few vectors or this dimension.
    """
    match config:
        case FlatConfig():
            return Plan("flat", {})
        case HnswConfig(links=links, ef_construction=ef_construction, ef_search=ef_search):
            graph = {"links": links, "ef_construction": ef_construction, "ef_search": ef_search, "seed": config.seed}
            return Plan("hnsw", graph)
        case IvfSq8Config():
            return Plan("ivf_sq8", _inverted_lists(config, count))
        case IvfPqConfig():
            if count < PQ_CENTROIDS:
                raise ConfigError(
                    f"index=ivf_pq needs at least {PQ_CENTROIDS} distinct vectors to train its codes, got {count}; "
                    f"use index=flat, which is exact and small at this size"
                )
            return Plan("ivf_pq", {**_inverted_lists(config, count), "code_bytes": _code_bytes(config.code_bytes, dim)})
    raise ConfigError(f"expected a flat, hnsw, ivf_sq8 or ivf_pq configuration, got {type(config).__name__}")


def checked_plan(kind: str, parameters: Parameters) -> Plan:
    """Return the plan that was written to disk.

    Raises:
        ValueError: If there is no such kind, or its parameters are others or not numbers.
    """
    if kind not in _FILES or not isinstance(parameters, dict) or parameters.keys() != _FILES[kind].parameters:
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
    if plan.kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dim, values["links"], metric)
        graph.hnsw.efConstruction = values["ef_construction"]
        graph.hnsw.rng = faiss.RandomGenerator(values["seed"])
        return graph
    centroids = faiss.IndexFlatIP(dim)
    if plan.kind == "ivf_sq8":
        index = faiss.IndexIVFScalarQuantizer(centroids, dim, values["lists"], faiss.ScalarQuantizer.QT_8bit, metric)
    else:
        index = faiss.IndexIVFPQ(centroids, dim, values["lists"], values["code_bytes"], 8, metric)
        _seed(index.pq.cp, values)
    _seed(index.cp, values)
    return index


def training_rows(plan: Plan, *, count: int) -> IntVector | None:
    """Return which of ``count`` vectors to train on, in order, or ``None`` for a kind that needs no training."""
    if "lists" not in plan.parameters:
        return None
    size = max(_TRAIN_ROWS, _TRAIN_ROWS_PER_LIST * int(plan.parameters["lists"]))
    if count <= size:
        return np.arange(count, dtype=np.int64)
    generator = np.random.default_rng(int(plan.parameters["seed"]))
    return np.sort(generator.choice(count, size=size, replace=False)).astype(np.int64)


def search_parameters(plan: Plan) -> Any:  # noqa: ANN401 - faiss has no types
    """Return what one search call needs; objects of its own, so that threads do not share a setting."""
    values = plan.parameters
    if plan.kind == "hnsw":
        return faiss.SearchParametersHNSW(efSearch=values["ef_search"])
    if "probes" in values:
        return faiss.SearchParametersIVF(nprobe=values["probes"])
    return None


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


def size_bytes(index: Any) -> int:  # noqa: ANN401 - faiss has no types
    """Return how many bytes FAISS would write, which but for some allocator's slack is what it holds in memory."""
    counted = [0]

    def count(content: bytes) -> int:
        counted[0] += len(content)
        return len(content)

    faiss.write_index(index, faiss.PyCallbackIOWriter(count))
    return counted[0]


def write(index: Any, path: Path) -> storage.FileDigest:  # noqa: ANN401 - faiss has no types
    """Write an index through storage: FAISS's own writer reports success on a full disk.

    Raises:
        StorageFull, StorageError: Nothing is left behind.
    """
    with storage.writer(path) as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
    return file.digest


def read(path: Path, kind: str, *, count: int, dim: int) -> Any:  # noqa: ANN401 - faiss has no types
    """Read an index that `write` wrote; its digest must have been checked, since FAISS accepts most damaged files.

    Raises:
        ArtifactUntrusted: If the file is of a type that is never written here (some open other files by path).
        ArtifactCorrupt: If FAISS refuses it, or it is not what ``kind``, ``count`` and ``dim`` say.
    """
    expected = _FILES[kind]
    header = check_faiss_file(path, expected.fourcc)
    if (header.count, header.dim) != (count, dim):
        raise ArtifactCorrupt(
            f"expected {count} vectors of dimension {dim} in {path}, found {header.count} of {header.dim}; "
            "build the index again"
        )
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_READ_ONLY)  # owned, and of its own class already
    except RuntimeError as error:
        raise ArtifactCorrupt(f"FAISS cannot read {path}: {error}; build the index again") from error
    found = (type(index).__name__, index.ntotal, index.d, index.metric_type)
    wanted = (expected.class_name, count, dim, faiss.METRIC_INNER_PRODUCT)
    if found != wanted:
        raise ArtifactCorrupt(f"expected type, count, dim and metric {wanted} in {path}, found {found}; build it again")
    return index


def limit_reading(size_bytes: int) -> None:
    """Let FAISS allocate no more than ``size_bytes`` for one array of a file it reads, nor loop over more parts.

    For a process of its own: the limits hold for everybody in it, and FAISS says that setting them is not thread-safe.
    Elsewhere `check_faiss_file` has held every length against the file already.
    """
    faiss.set_deserialization_vector_byte_limit(size_bytes)
    faiss.set_deserialization_loop_limit(max(size_bytes, 1))


def version() -> str:
    """Return the version of FAISS."""
    return str(faiss.__version__)


def _inverted_lists(config: IvfSq8Config | IvfPqConfig, count: int) -> dict[str, int | float]:
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
