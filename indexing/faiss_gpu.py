"""FAISS on a CUDA device, where the installed FAISS is built for one: which kinds it takes, and what it cannot do.

What runs there only proposes; the exact vectors decide here as ever (`indexing.refine`). Three things differ from the
CPU (FAISS 1.15, ``gpu/GpuIndex.cu``, ``gpu/GpuCloner.cpp``, ``gpu/GpuIndexCagra.h``), and each has its way around:

- at most 2,048 rows are found and as many lists probed: a search that needs more is asked of the CPU's index;
- without cuVS a selector is accepted and ignored, so filtered searches are the CPU's;
- one ``StandardGpuResources`` serves one thread at a time, so calls take turns.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import faiss as _faiss
import numpy as np

from indexing.errors import EnvironmentProblem
from indexing.types import FloatMatrix, IntMatrix

faiss: Any = _faiss  # its own stubs know half of its names

MOST = 2048
"""Rows and lists per search on a device: ``getMaxKSelection`` in ``gpu/impl/IndexUtils.cu`` without cuVS."""

MOST_BEAM = 512
"""Candidates that CAGRA keeps for one query at most, ``itopk_size`` (cuVS, search by one block of threads)."""

CLONED = ("flat", "ivf_sq8", "ivf_pq")
"""Kinds that `index_cpu_to_gpu` copies as they are; a graph is built anew, as CAGRA, where FAISS has it."""

_log = logging.getLogger(__name__)


def device_count() -> int:
    """Return how many CUDA devices the installed FAISS can use; 0 when it is built for the CPU."""
    return int(getattr(faiss, "get_num_gpus", lambda: 0)())


def takes(kind: str) -> bool:
    """Return whether the installed FAISS can search this kind of index on a device."""
    return device_count() > 0 and (kind in CLONED or (kind == "hnsw" and hasattr(faiss, "GpuIndexCagra")))


def require_device() -> None:
    """Refuse to go on without a FAISS that sees a CUDA device.

    Raises:
        EnvironmentProblem: With what is installed and what would help.
    """
    if not device_count():
        built = "sees no CUDA device" if hasattr(faiss, "StandardGpuResources") else "is built for the CPU"
        raise EnvironmentProblem(
            f"a FAISS index on CUDA was asked for, but FAISS {faiss.__version__} {built}; "
            "install the extra gpu instead of cpu on a machine with a device, or set runtime.index_device=cpu"
        )


@dataclass(frozen=True, slots=True)
class OnDevice:
    """A copy of a FAISS index on a device, and when to ask it.

    Attributes:
        index: The copy.
        most: Rows that it can find at once.
        resources: Must live as long as the copy.
        turn: Held by whoever searches.
    """

    index: Any
    most: int
    resources: Any
    turn: threading.Lock

    def can(self, fetch: int, *, probes: int = 0) -> bool:
        """Return whether a search of this size is one for the device."""
        return max(fetch, probes) <= self.most

    def search(self, queries: FloatMatrix, fetch: int, *, params: Any) -> tuple[FloatMatrix, IntMatrix]:  # noqa: ANN401
        """Search the copy as `faiss.Index.search`; threads take turns."""
        with self.turn:
            scores, numbers = self.index.search(queries, fetch, params=params)
        return scores, numbers


def copied(index: Any, kind: str) -> OnDevice:  # noqa: ANN401 - faiss has no types
    """Copy an index of one of the kinds `CLONED` to the first device.

    Raises:
        EnvironmentProblem: If there is no device.
        ValueError: If FAISS cannot copy this kind.
    """
    require_device()
    if kind not in CLONED:
        raise ValueError(f"FAISS copies {', '.join(CLONED)} to a device, got {kind}")
    resources = faiss.StandardGpuResources()
    return OnDevice(faiss.index_cpu_to_gpu(resources, 0, index), MOST, resources, threading.Lock())


def graph(blocks: Iterable[FloatMatrix], dim: int, *, links: int) -> OnDevice:
    """Build a CAGRA graph (arXiv 2308.15136) over vectors on the first device.

    Args:
        blocks: Every vector once, in the order of the numbers, float32 [<= n, d].
        dim: Their dimension.
        links: Neighbours per node of the graph it stands for; CAGRA's are directed, so it gets twice as many.

    Raises:
        EnvironmentProblem: If there is no device, or FAISS is built without cuVS.
    """
    require_device()
    if not hasattr(faiss, "GpuIndexCagra"):
        raise EnvironmentProblem(
            f"a graph on CUDA was asked for, but FAISS {faiss.__version__} is built without cuVS; "
            "install faiss-gpu-cuvs, or set runtime.index_device=cpu"
        )
    resources, config = faiss.StandardGpuResources(), faiss.GpuIndexCagraConfig()
    config.graph_degree = 2 * links
    config.intermediate_graph_degree = 2 * config.graph_degree
    index = faiss.GpuIndexCagra(resources, dim, faiss.METRIC_INNER_PRODUCT, config)
    index.train(np.concatenate(list(blocks)))  # builds the graph; there is nothing to add after it
    return OnDevice(index, MOST_BEAM, resources, threading.Lock())


def graph_parameters(beam: int) -> Any:  # noqa: ANN401 - faiss has no types
    """Return what a search of a CAGRA graph needs: its beam, a multiple of 32, at most `MOST_BEAM`."""
    return faiss.SearchParametersCagra(itopk_size=min(MOST_BEAM, -(-beam // 32) * 32))


def trainer(index: Any, kind: str) -> Any:  # noqa: ANN401 - faiss has no types
    """Return where an empty index is trained and filled: a copy on the device where that helps, or itself.

    Lists are found by k-means and filled by comparing every vector with every list, which is the device's to do; a flat
    index has nothing to compute, and a graph is the CPU's.
    """
    if not kind.startswith("ivf") or kind not in CLONED:
        return index
    require_device()
    resources = faiss.StandardGpuResources()
    copy = faiss.index_cpu_to_gpu(resources, 0, index)
    copy.cp.seed = index.cp.seed  # the copy has k-means settings of its own
    copy.resources_of_python = resources  # lives as long as the copy
    return copy


def trained(index: Any) -> Any:  # noqa: ANN401 - faiss has no types
    """Return a CPU index of what `trainer` returned, full by now; itself when it never was anywhere else."""
    return faiss.index_gpu_to_cpu(index) if hasattr(index, "resources_of_python") else index
