"""Exact search on a GPU through torch: bfloat16 scores choose the candidates, float32 decides, and a bound proves it.

A query over n vectors reads each of them once, so half the bytes are half the time; a full sort of n scores would cost
as much again. So scores are made in bfloat16, block by block, and their best are found on two levels: the maximum of
every tile of 256 scores, then the scores of the best tiles alone. What is kept is scored again in float32. How far
bfloat16 may be off is known for every query (`TiledSearch._bound`); where that cannot exclude that a vector was missed,
the query is answered by float32 scores over all vectors.

Runs on ``cpu`` as well, where it is what the tests hold against `indexing.exact.ExactIndex`.
"""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

import numpy as np

from indexing.errors import EnvironmentProblem
from indexing.scores import SHORTEST
from indexing.types import BoolVector, FloatMatrix, IntMatrix

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

TILE = 256
"""Scores per tile: the first level writes 1 / 256 of what it reads, the second reads 256 scores per candidate."""

OVERSAMPLE, SPARE = 4, 64
"""Candidates in bfloat16 = 4 times what is wanted + 64. Over 50,000 made-up vectors of 384 dimensions around 256
centres that left none of 64 queries in doubt, for 10 and for 100 wanted; the bound was .006 there."""

SCORES = 1 << 26
"""Scores held at a time, over the queries of a batch: 128 MiB in bfloat16, 256 MiB in float32."""

QUERIES = 64
"""Queries of a batch; their candidates' vectors are gathered at once: 64 x 464 x 384 float32 are 46 MB."""

_BF16 = 2.0**-8
"""Unit roundoff of bfloat16: eight significant bits, round to nearest. Source: Higham, Accuracy and Stability of
Numerical Algorithms, 2002, section 2.2, with p = 8."""

_FP32 = 2.0**-24
_ROWS = 1 << 20  # looked at together while vectors are taken in: 1.5 GB of 384 dimensions


class TiledSearch:
    """Vectors on a device, searched exactly. Immutable; calls from several threads queue up on the device.

    Attributes:
        count: Number of vectors n.
        dim: Their dimension d.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, exact: "torch.Tensor") -> None:
        """Take float32 [n, d] on its device; call `of` instead."""
        import torch

        self.count, self.dim = exact.shape
        self.device = exact.device.type
        self._exact = exact
        self._coarse = exact.to(torch.bfloat16)
        # Block by block: a difference of all of them would take as much memory again as the vectors.
        off, lengths = [0.0], [0.0]
        for first in range(0, self.count, _ROWS):
            part = exact[first : first + _ROWS]
            off.append(float(_lengths(part - self._coarse[first : first + _ROWS].float()).max()))
            lengths.append(float(_lengths(part).max()))
        self._rounding, self._longest = max(off), max(lengths)

    @classmethod
    def of(cls, blocks: Iterable[FloatMatrix], *, count: int, dim: int, device: str) -> Self:
        """Copy vectors to a device.

        Args:
            blocks: float32 [<= n, d], ``count`` rows in all.
            count: Number of vectors n.
            dim: Their dimension d.
            device: ``cpu`` or ``cuda``.

        Raises:
            EnvironmentProblem: If torch sees no such device, or it has not the memory (6 bytes a number).
            ValueError: If the blocks hold another number of rows.
        """
        import torch

        if device == "cuda":
            require_room(count, dim)
            # Sums split over several multiprocessors would otherwise be added up in bfloat16, beyond the bound.
            torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        exact = torch.empty((count, dim), dtype=torch.float32, device=device)
        filled = 0
        for block in blocks:
            if filled + len(block) <= count:
                # A copy: what is mapped for reading only is not torch's to hold.
                exact[filled : filled + len(block)] = torch.from_numpy(np.array(block, dtype=np.float32))
            filled += len(block)
        if filled != count:
            raise ValueError(f"expected {count} vectors, got {filled}")
        return cls(exact)

    def search(
        self, queries: FloatMatrix, k: int, *, selected: BoolVector | None = None
    ) -> tuple[FloatMatrix, IntMatrix]:
        """Return the vectors of the highest inner products; no other vector's exceeds the last of them by rounding.

        Args:
            queries: float32 [q, d], finite, of any length.
            k: How many, at least 1; more than there are leaves empty places.
            selected: Vectors that may be returned, bool [n]; ``None`` means all.

        Returns:
            Scores float32 [q, k], best first, as this device sums them up, and numbers int64 [q, k]; an empty place
            has number -1 and score -inf, and comes last. Equal scores come in no order that is promised.
        """
        import torch

        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        numbers = np.full((len(queries), k), -1, dtype=np.int64)
        mask = torch.from_numpy(~selected).to(self.device) if selected is not None else None
        for first in range(0, len(queries), QUERIES):
            batch = torch.from_numpy(np.ascontiguousarray(queries[first : first + QUERIES])).to(self.device)
            found_scores, found_numbers = self._search(batch, min(k, self.count), mask)
            width = found_scores.shape[1]
            scores[first : first + QUERIES, :width] = found_scores.cpu().numpy()
            numbers[first : first + QUERIES, :width] = found_numbers.cpu().numpy()
        numbers[np.isneginf(scores)] = -1
        return scores, numbers

    def _search(
        self, queries: "torch.Tensor", k: int, mask: "torch.Tensor | None"
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Search one batch: bfloat16 first, float32 over everything for those queries that this leaves in doubt."""
        import torch

        if k == 0:
            return queries.new_empty((len(queries), 0)), torch.empty((len(queries), 0), dtype=torch.int64)
        wanted = min(self.count, OVERSAMPLE * k + SPARE)
        coarse, numbers = best_of(queries.to(torch.bfloat16), self._coarse, wanted, mask=mask)
        exact = self._rescored(queries, numbers).masked_fill(torch.isneginf(coarse), -torch.inf)
        scores, places = exact.topk(k, dim=1)
        numbers = numbers.gather(1, places)
        # Whatever was left out has at most the last coarse score; all of them are here when fewer exist than wanted.
        last = coarse[:, -1].float()
        unsure = scores[:, -1] <= last + self._bound(queries, last)
        if wanted < self.count and bool(unsure.any()):
            logger.debug("%d of %d queries are searched again in float32", int(unsure.sum()), len(queries))
            scores[unsure], numbers[unsure] = best_of(queries[unsure], self._exact, k, mask=mask)
        return scores, numbers

    def _rescored(self, queries: "torch.Tensor", numbers: "torch.Tensor") -> "torch.Tensor":
        """Return the inner products of each query with its candidates, float32 [q, m]; no TF32, whatever is set."""
        return (self._exact[numbers] * queries[:, None]).sum(dim=2)

    def _bound(self, queries: "torch.Tensor", last: "torch.Tensor") -> "torch.Tensor":
        """Return by how much a vector's exact score may exceed ``last`` (float32 [q]) when its coarse one does not.

        With q' and v' the rounded vectors, q.v - q'.v' = (q - q').v + q'.(v - v'), each at most the product of the
        lengths (Cauchy and Schwarz). The lengths of the differences are those measured, not the worst that rounding
        allows. To this comes the rounding of the sum itself: d additions in float32 (Higham, as above, section 3.1),
        then once to bfloat16.
        """
        import torch

        rounded = queries.to(torch.bfloat16).float()
        length, off = _lengths(rounded), _lengths(queries - rounded)
        products = off * self._longest + length * self._rounding
        sums = 2 * self.dim * _FP32 * (length + off) * (self._longest + self._rounding)
        bound: torch.Tensor = products + sums + _BF16 * last.abs().nan_to_num(posinf=0.0)
        return bound


def best_of(
    queries: "torch.Tensor", vectors: "torch.Tensor", k: int, *, mask: "torch.Tensor | None" = None
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return the ``k`` highest inner products of each query, found on two levels, block by block.

    It is exact over the scores as they are computed: let a score be among the k highest of a block, and its tile not
    among the k tiles of the highest maxima. Then each of those k tiles holds a score at least as high, and these k can
    stand in its place.

    Args:
        queries: [q, d], of the dtype that scores are computed in.
        vectors: [n, d], of the same dtype.
        k: 1 <= k <= n.
        mask: Vectors that may not be returned, bool [n].

    Returns:
        Scores [q, k] of that dtype, best first, -inf where too few vectors may be returned, and numbers int64 [q, k].
    """
    import torch

    rows = max(TILE, SCORES // len(queries) // TILE * TILE)
    held: tuple[torch.Tensor, torch.Tensor] | None = None
    for first in range(0, len(vectors), rows):
        scores = queries @ vectors[first : first + rows].T
        if mask is not None:
            scores.masked_fill_(mask[first : first + rows], -torch.inf)
        best, places = _two_levels(scores, min(k, scores.shape[1]))
        places += first
        if held is not None:
            best, places = torch.cat((held[0], best), dim=1), torch.cat((held[1], places), dim=1)
            best, chosen = best.topk(min(k, best.shape[1]), dim=1)
            places = places.gather(1, chosen)
        held = best, places
    if held is None:
        raise ValueError("expected at least one vector, got none")
    return held


def _two_levels(scores: "torch.Tensor", k: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return the ``k`` highest of each row of scores [q, b], best first, and their places."""
    import torch

    tiles = -(-scores.shape[1] // TILE)
    if tiles <= k:  # every tile would be kept
        return scores.topk(k, dim=1)
    missing = tiles * TILE - scores.shape[1]
    tiled = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf) if missing else scores
    tiled = tiled.view(len(scores), tiles, TILE)
    kept = tiled.amax(dim=2).topk(k, dim=1).indices
    best, places = tiled.gather(1, kept[:, :, None].expand(-1, -1, TILE)).flatten(1).topk(k, dim=1)
    found = kept.gather(1, places // TILE) * TILE + places % TILE
    return best, found.clamp(max=scores.shape[1] - 1)  # padding scores -inf, as what is masked does, and is nowhere


def _lengths(vectors: "torch.Tensor") -> "torch.Tensor":
    """Return how long each is at most: its length, or `SHORTEST`."""
    import torch

    lengths: torch.Tensor = torch.linalg.vector_norm(vectors, dim=1).clamp(min=SHORTEST)
    return lengths


def require_room(count: int, dim: int) -> None:
    """Refuse what the CUDA device cannot hold, before anything is copied.

    Raises:
        EnvironmentProblem: If there is no device, or less memory free than vectors in float32 and bfloat16, the scores
            of a block and a gibibyte for the libraries need.
    """
    import torch

    if not torch.cuda.is_available():
        raise EnvironmentProblem("a search on CUDA was asked for, but torch sees no CUDA device; search on the cpu")
    needed = count * dim * 6 + SCORES * 8 + (1 << 30)
    free, _ = torch.cuda.mem_get_info()
    if needed > free:
        raise EnvironmentProblem(
            f"{count:,} vectors of dimension {dim} need {needed / 2**30:.1f} GiB on the CUDA device, and "
            f"{free / 2**30:.1f} GiB are free; search on the cpu"
        )
