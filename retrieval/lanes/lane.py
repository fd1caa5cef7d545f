"""The one interface behind encoder and cross-encoder: rows of tokens in, one row of float32 out for each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from indexing.types import FloatMatrix, IntVector
from retrieval.batches import TokenRow, token_budget_batches
from retrieval.config import Backend, Precision


@dataclass(frozen=True, slots=True)
class LaneInput:
    """Rows that a network reads.

    Attributes:
        rows: Token numbers of every text, int32 [t], without padding.
        segments: 0 or 1 for every token where texts come in pairs; ``None`` where a row is one text.
        unpooled: Tokens at the start of every row that are read and not pooled (a prompt).
    """

    rows: Sequence[TokenRow]
    segments: Sequence[TokenRow] | None = None
    unpooled: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def part(self, places: IntVector) -> "LaneInput":
        """Return some of the rows, in the order of ``places``."""
        segments = None if self.segments is None else [self.segments[place] for place in places]
        return LaneInput([self.rows[place] for place in places], segments, self.unpooled)

    def batches(self, budget: int) -> Iterator[IntVector]:
        """Yield the places of rows that are run together; see `token_budget_batches`."""
        return token_budget_batches([len(row) for row in self.rows], budget)


class Lane(Protocol):
    """Runs one network. Safe to call from several threads.

    Attributes:
        backend: The library that computes.
        precision: Arithmetic of the matrix products; what comes out is float32 whatever it is.
        description: For people, such as ``openvino int8, 2 threads``.
    """

    @property
    def backend(self) -> Backend:
        """Return the library that computes."""

    @property
    def precision(self) -> Precision:
        """Return the arithmetic."""

    @property
    def description(self) -> str:
        """Return what runs, in words."""

    def run(self, given: LaneInput, *, done: Callable[[int], None] | None = None) -> FloatMatrix:
        """Return what the network gives for every row, float32 [n, width], in the order given; [0, width] for none.

        Args:
            given: The rows.
            done: Called after every batch with the number of rows in it; batches take the rows `longest_first`.
        """


def dense_batch(
    given: LaneInput, *, pad_token: int, longest: int = 0
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Return the tokens of some rows as int32 [b, t], padded at the end, and their mask as float32 [b, t].

    Args:
        given: The rows.
        pad_token: What padding is filled with.
        longest: Least t; otherwise that of the longest row.
    """
    lengths = np.fromiter(map(len, given.rows), np.int64, len(given.rows))
    mask = np.arange(lengths.max(initial=longest)) < lengths[:, None]
    tokens = np.full(mask.shape, pad_token, np.int32)
    tokens[mask] = np.concatenate(given.rows) if len(given) else 0
    return tokens, mask.astype(np.float32)
