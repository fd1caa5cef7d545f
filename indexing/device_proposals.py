"""Proposals from a FAISS index on a CUDA device; what the device cannot do is asked of the CPU's index."""

from dataclasses import dataclass
from functools import partial

from indexing import faiss_gpu
from indexing.faiss_gpu import OnDevice
from indexing.faiss_index import FaissIndex
from indexing.proposals import Proposer
from indexing.types import FloatMatrix, IntMatrix


@dataclass(frozen=True, slots=True)
class DeviceProposer(Proposer):
    """A FAISS index with a copy on a device. Filtered searches (`Proposer.ask_among`) are the CPU's: it has selectors.

    Attributes:
        copy: What lies on the device.
    """

    copy: OnDevice

    def ask(self, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:
        """Ask the device, or the CPU for more than a device finds at once; see `Proposer.ask`."""
        if not self.copy.can(fetch, probes=int(self.plan.parameters.get("probes", 0))):
            return Proposer.ask(self, queries, fetch)
        parameters = self.parameters
        if self.plan.effort == "ef_search":
            parameters = faiss_gpu.graph_parameters(max(int(self.plan.parameters["ef_search"]), fetch))
        return self._batches(partial(self.copy.search, params=parameters), queries, fetch)


def on_faiss_device(index: FaissIndex) -> FaissIndex:
    """Return the index searched on the first CUDA device that FAISS sees; the CPU's stays beside it.

    Raises:
        EnvironmentProblem: If there is no device, or FAISS cannot search this kind there.
        ValueError: If FAISS has no such kind on devices.
    """
    asked = index.proposer
    if asked.plan.kind == "hnsw":
        links = int(asked.plan.parameters["links"])
        copy = faiss_gpu.graph(index.distinct_blocks(), index.dim, links=links)
    else:
        copy = faiss_gpu.copied(asked.index, asked.plan.kind)
    return index.proposed_by(DeviceProposer(asked.index, asked.plan, asked.parameters, copy))
