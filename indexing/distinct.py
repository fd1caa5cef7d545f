"""Rows that hold the same vector, so that an index holds each vector once.

Catalogues repeat themselves (variants with one text), and equal vectors are poison to an approximate index: a graph
links hundreds of them to each other and to nothing else. Measured with HNSW, 32 links, 3,000 vectors of 64 dimensions:
recall@100 falls from 1.00 to .97 when 600 rows are equal and to .37 when 1,500 are. Indexed once each: 1.00.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from indexing.checks import check_vectors
from indexing.keys import KEY_BYTES, key_array
from indexing.types import BoolVector, FloatMatrix, FloatVector, IntVector, Vectors

_BLOCK_ROWS = 65_536  # 100 MB of 384 dimensions at a time


@dataclass(frozen=True, slots=True)
class DistinctRows:
    """The distinct vectors, numbered by first appearance, and the rows that hold each.

    Attributes:
        numbers: Number of each row's vector, int64 [n].
        members: All rows, those of one number together and in tie order, int64 [n]; ``numbers`` itself where every row
            has a vector of its own.
        starts: Where the rows of each number begin in ``members``, int64 [u + 1]; empty where every row has its own.
        repeated: Which numbers stand for several rows, bool [u]; empty where none does.
    """

    numbers: IntVector
    members: IntVector
    starts: IntVector
    repeated: BoolVector

    @classmethod
    def of(cls, numbers: IntVector, *, tie_rank: IntVector | None) -> Self:
        """Group rows by number; within a group the lower ``tie_rank`` (int64 [n]; default: row) comes first."""
        rows = np.arange(len(numbers), dtype=np.int64)
        if np.array_equal(numbers, rows):
            return cls(numbers, numbers, starts=np.empty(0, np.int64), repeated=np.empty(0, np.bool_))
        ties = rows if tie_rank is None else tie_rank
        sizes = np.bincount(numbers)
        starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        return cls(numbers, np.lexsort((rows, ties, numbers)), starts=starts, repeated=sizes > 1)

    @property
    def is_plain(self) -> bool:
        """Whether every row has a vector of its own, so that a number is a row."""
        return self.members is self.numbers

    @property
    def count(self) -> int:
        """Number of distinct vectors u."""
        return len(self.numbers) if self.is_plain else len(self.starts) - 1

    @property
    def size_bytes(self) -> int:
        """Bytes of the arrays, each counted once."""
        own = (self.numbers, self.starts, self.repeated) + (() if self.is_plain else (self.members,))
        return sum(part.nbytes for part in own)

    def first_rows(self, numbers: IntVector) -> IntVector:
        """Return one row that holds each of these vectors, int64 [m]."""
        return numbers if self.is_plain else self.members[self.starts[numbers]]

    def holding(self, eligible: BoolVector) -> BoolVector:
        """Return which vectors some eligible row holds, bool [u]."""
        if self.is_plain:
            return eligible
        held = np.zeros(self.count, dtype=np.bool_)
        held[self.numbers[eligible]] = True
        return held

    def expand(self, numbers: IntVector, scores: FloatVector, *, k: int | None) -> tuple[IntVector, FloatVector]:
        """Return the rows of these vectors, the first ``k`` of each at most, and the score of each row.

        Args:
            numbers: Distinct numbers, int64 [m].
            scores: Score of each, float32 [m].
            k: More rows of one vector than this can never be wanted; ``None`` for all of them.

        Returns:
            Rows int64 [r] and scores float32 [r], r >= m.
        """
        if self.is_plain or not self.repeated[numbers].any():
            return self.first_rows(numbers), scores
        sizes = self.starts[numbers + 1] - self.starts[numbers]
        if k is not None:
            sizes = np.minimum(sizes, k)
        ends = np.cumsum(sizes)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
        return self.members[np.repeat(self.starts[numbers], sizes) + within], np.repeat(scores, sizes)

    def blocks(self, vectors: Vectors) -> Iterator[FloatMatrix]:
        """Yield every distinct vector once, in the order of the numbers, float32 [<=65536, d]."""
        seen = 0
        for first, block in vectors.blocks(_BLOCK_ROWS):
            numbers = self.numbers[first : first + len(block)]
            # Numbers rise with first appearance: a row is the first of its vector when it passes all before it.
            highest = np.maximum.accumulate(np.concatenate(([seen - 1], numbers)))
            is_first = numbers > highest[:-1]
            seen = int(highest[-1]) + 1
            if is_first.any():
                yield np.ascontiguousarray(block[is_first])


def number_vectors(vectors: Vectors) -> tuple[IntVector, str]:
    """Number the distinct vectors by first appearance, and digest all of them.

    Two vectors are the same when their bytes are (0.0 and -0.0 differ, which costs nothing but a place in the index).

    Returns:
        The number of each row's vector, int64 [n], and the SHA-256 of all bytes in row order, hexadecimal.

    Raises:
        VectorError: If a vector cannot be indexed.
    """
    sha256, keys = hashlib.sha256(), list[bytes]()
    for first, block in vectors.blocks(_BLOCK_ROWS):
        matrix = check_vectors(block, dim=vectors.dim, first_row=first)
        sha256.update(matrix.data)
        keys.extend(hashlib.blake2b(row, digest_size=KEY_BYTES).digest() for row in matrix)
    unique: Any = np.unique  # its types leave out raw bytes
    _, first_places, numbers = unique(key_array(keys), return_index=True, return_inverse=True)
    by_appearance = np.empty(len(first_places), dtype=np.int64)
    by_appearance[np.argsort(first_places)] = np.arange(len(first_places))
    return by_appearance[numbers], sha256.hexdigest()


def digest_vectors(vectors: Vectors) -> str:
    """Return the SHA-256 of all vectors' bytes in row order, as `number_vectors` does."""
    sha256 = hashlib.sha256()
    for _, block in vectors.blocks(_BLOCK_ROWS):
        sha256.update(np.ascontiguousarray(block).data)
    return sha256.hexdigest()
