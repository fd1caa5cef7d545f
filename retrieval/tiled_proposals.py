"""Proposals from `TiledSearch`: an index of any kind, searched exactly on a device through torch."""

from dataclasses import dataclass
from typing import Self

from indexing.faiss_index import FaissIndex
from indexing.faiss_kinds import Plan
from indexing.proposals import Proposer
from indexing.types import BoolVector, FloatMatrix, IntMatrix
from retrieval.tiled_search import TiledSearch


@dataclass(frozen=True, slots=True)
class TiledProposer(Proposer):
    """Every distinct vector on a device. It has no search parameters, and is planned for as a flat index.

    Attributes:
        tiled: The vectors.
    """

    tiled: TiledSearch

    def searching(self, plan: Plan) -> Self:
        """Return itself: nothing is left out, however wide the search."""
        return self

    def ask(self, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:
        """Return the best of all vectors; see `Proposer.ask`."""
        return self.tiled.search(queries, fetch)

    def ask_among(self, selected: BoolVector, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:
        """Return the best of those that are selected, bool [u]; see `Proposer.ask_among`."""
        return self.tiled.search(queries, fetch, selected=selected)


def on_torch_device(index: FaissIndex, device: str) -> FaissIndex:
    """Return the index searched exactly on a device: scores and order are those of `indexing.exact.ExactIndex`.

    Raises:
        EnvironmentProblem: If torch sees no such device, or it has not the memory.
    """
    tiled = TiledSearch.of(index.distinct_blocks(), count=index.distinct_count, dim=index.dim, device=device)
    return index.proposed_by(TiledProposer(index.proposer.index, Plan("flat", {}), None, tiled))
