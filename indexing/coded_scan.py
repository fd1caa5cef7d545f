"""An exact scan that reads a quarter of the bytes: codes of 8 bits propose, with a bound on how far they are off.

A scan for one query takes as long as the vectors take to come from memory, and what it reads drives the weights of the
model that made the query out of the cache. Codes are a quarter as long. That they miss nothing is certain and not
likely: with v the vector, c what its code stands for and q the query, |q.v - q.c| <= |q| |v - c| (Cauchy and Schwarz),
and the largest |v - c| of all vectors is known. So each score is raised by that bound before it is handed on, and the
refinement (`indexing.refine`), which asks for more until what was not proposed lies below the k-th exact score, proves
the answer.

Icecat (19,406 x 384, all-MiniLM-L6-v2): the bound is .0085, and a scan for the best 1,000 of one query took .84 ms on
one Zen 4 core in place of 1.80 (docs/decisions/0028-an-exact-scan-reads-codes.md).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import faiss as _faiss
import numpy as np

from indexing import faiss_io, faiss_kinds
from indexing.faiss_kinds import Plan
from indexing.proposals import Proposer, ask_faiss
from indexing.scores import length_at_most
from indexing.types import BoolVector, FloatMatrix, IntMatrix

faiss: Any = _faiss  # its own stubs know half of its names

LEAST_ROWS = 4096
"""Fewer vectors are scanned as they are: they take a fraction of a millisecond."""

_SPARE, _SPARE_ROWS = 1.25, 16
"""Proposed beyond what is wanted, as a share and as a number: then the bound nearly always proves the first answer."""

_BLOCK_ROWS = 4096
_ROUNDING = 1e-6  # of the float32 sums behind the bound; FAISS's differ by 1.2e-7 (`indexing.refine`)


@dataclass(frozen=True, slots=True)
class CodedProposer(Proposer):
    """A flat FAISS index whose single queries are asked of codes beside it; several at once read the vectors together.

    Attributes:
        codes: A FAISS index of the same vectors in 8 bits a dimension, in the same order.
        off: No code is farther from its vector than this.
    """

    codes: Any
    off: float

    @classmethod
    def over(cls, flat: Any, plan: Plan, held: FloatMatrix) -> Self:  # noqa: ANN401 - faiss has no types
        """Make the codes of a flat index that holds these vectors."""
        codes = faiss.IndexScalarQuantizer(flat.d, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        codes.train(held)
        codes.add(held)
        off = max(float(np.linalg.norm(block, axis=1).max()) for block in _differences(held, codes))
        return cls(flat, plan, None, codes, off + _ROUNDING)

    @property
    def size_bytes(self) -> int:
        """Bytes in memory, the codes included."""
        return faiss_io.size_bytes(self.index) + faiss_io.size_bytes(self.codes)

    def ask(self, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:
        """Return more than ``fetch`` proposals for a single query, their scores raised to what they can be at most."""
        if len(queries) != 1:
            return Proposer.ask(self, queries, fetch)
        return self._ask_codes(None, queries, fetch)

    def ask_among(self, selected: BoolVector, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:
        """Do as `ask` among the vectors that are selected, bool [u]."""
        if len(queries) != 1:
            return Proposer.ask_among(self, selected, queries, fetch)
        return self._ask_codes(faiss.SearchParameters(sel=faiss_kinds.selecting(selected)), queries, fetch)

    def _ask_codes(self, parameters: Any, queries: FloatMatrix, fetch: int) -> tuple[FloatMatrix, IntMatrix]:  # noqa: ANN401
        fetch = min(self.codes.ntotal, math.ceil(fetch * _SPARE) + _SPARE_ROWS)
        scores, numbers = ask_faiss(self.codes, parameters, queries, fetch)
        scores += self.off * length_at_most(queries[0])
        return scores, numbers


def _differences(held: FloatMatrix, codes: Any) -> Iterator[FloatMatrix]:  # noqa: ANN401 - faiss has no types
    for first in range(0, len(held), _BLOCK_ROWS):
        block = held[first : first + _BLOCK_ROWS]
        yield block - codes.reconstruct_n(first, len(block))
