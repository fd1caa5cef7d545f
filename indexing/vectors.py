"""Vectors in memory and on disk: an array, and an append-only store of immutable segments.

The files of a store are those of `indexing.segments`.
"""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from indexing import storage
from indexing.checks import check_vectors
from indexing.keys import KEY, KEY_BYTES, KeyTable, key_array
from indexing.segments import Segment, read_segments, verify_segment, write_segment
from indexing.types import FloatMatrix, IntVector, Vectors

__all__ = ["KEY_BYTES", "ArrayVectors", "Segment", "VectorStore", "check_vectors"]

# --- in memory --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ArrayVectors:
    """Vectors that lie in one array.

    Attributes:
        matrix: float32 [n, d], C-contiguous.
    """

    matrix: FloatMatrix

    @property
    def count(self) -> int:
        """Number of rows n."""
        return int(self.matrix.shape[0])

    @property
    def dim(self) -> int:
        """Number of columns d."""
        return int(self.matrix.shape[1])

    def take(self, rows: IntVector) -> FloatMatrix:
        """Return a copy of the vectors of ``rows``, float32 [m, d]."""
        return self.matrix[rows]

    def blocks(self, size: int) -> Iterator[tuple[int, FloatMatrix]]:
        """Yield ``(first_row, float32 [<=size, d])`` over all rows in order, as views."""
        for first in range(0, self.count, size):
            yield first, self.matrix[first : first + size]


# --- on disk ----------------------------------------------------------------------------------------------------------


class VectorStore:
    """An append-only folder of vectors, each found by its key.

    One process appends at a time (hold `storage.exclusive_lock`), any number reads; an open store does not change.
    """

    def __init__(self, folder: Path, *, dim: int, segments: Sequence[Segment]) -> None:
        """Take what `open` has read; call that instead."""
        self._folder = folder
        self._dim = dim
        self._segments: tuple[Segment, ...] = ()
        self._parts: list[FloatMatrix] = []
        self._table: KeyTable | None = None
        for segment in segments:
            self._attach(segment)

    @classmethod
    def open(cls, folder: Path, *, dim: int, create: bool = False) -> Self:
        """Open a store.

        Args:
            folder: Where the segments lie.
            dim: Dimension of its vectors.
            create: Make an empty one when there is none.

        Raises:
            ArtifactNotFound: If there is no such folder and ``create`` is false.
            ArtifactCorrupt: If a segment is missing, does not parse, or its vectors have the wrong size.
            ArtifactIncompatible: If it holds vectors of another dimension, or was written in another format.
            StorageError: If it cannot be read or created.
        """
        if create:
            storage.make_folder(folder)
        return cls(folder, dim=dim, segments=read_segments(folder, dim=dim))

    @property
    def folder(self) -> Path:
        """Where the segments lie."""
        return self._folder

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._dim

    @property
    def count(self) -> int:
        """Number of vectors stored."""
        return self._segments[-1].first_row + self._segments[-1].count if self._segments else 0

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments in order."""
        return self._segments

    def find(self, keys: Sequence[bytes] | npt.NDArray[np.void]) -> IntVector:
        """Return the store row of every key, int64 [len(keys)]; -1 where it is not stored.

        Raises:
            ValueError: If a key is not 16 bytes long.
            ArtifactCorrupt: If a file of keys has the wrong size.
        """
        return self._keys().find(key_array(keys))

    def append(self, keys: Sequence[bytes], vectors: FloatMatrix) -> IntVector:
        """Store vectors as one new segment, durable when this returns.

        Args:
            keys: One key of 16 bytes per vector, none of them stored yet.
            vectors: float32 [n, d] of unit length.

        Returns:
            Their store rows, int64 [n]. With n = 0 nothing is written.

        Raises:
            ValueError: If counts differ, or a key has the wrong length, comes twice or is stored already.
            VectorError: If a vector cannot be indexed.
            StorageFull, StorageError: Nothing was added; what lies there is removed by the next append.
            CommitUncertain: It is in place but may not survive a power cut, and could not be removed either.
        """
        matrix = check_vectors(vectors, dim=self._dim)
        wanted = key_array(keys)
        if len(wanted) != len(matrix):
            raise ValueError(f"expected one key per vector, got {len(wanted)} keys and {len(matrix)} vectors")
        self._refuse_duplicates(wanted)
        if not len(wanted):
            return np.empty(0, dtype=np.int64)
        segment = write_segment(self._folder, self._segments, wanted, matrix)
        self._keys().add(wanted, first_row=segment.first_row)
        self._attach(segment)
        return np.arange(segment.first_row, segment.first_row + segment.count, dtype=np.int64)

    def view(self, rows: IntVector) -> Vectors:
        """Return read access to the vectors of ``rows`` in their order; memory-mapped, later appends do not show.

        Args:
            rows: Store rows, int64 [n], any order, repeats allowed.

        Raises:
            ValueError: If a row is not in the store (-1 means `find` did not know the key).
        """
        outside = np.flatnonzero((rows < 0) | (rows >= self.count))
        if outside.size:
            raise ValueError(
                f"{outside.size} of {len(rows)} rows are not in the store of {self.count} vectors at {self._folder}; "
                f"the first is row {rows[outside[0]]} at place {outside[0]}"
            )
        if not len(rows):
            return ArrayVectors(np.empty((0, self._dim), dtype=np.float32))
        parts = tuple(self._parts)
        windows, starts = _windows(parts, self._dim)
        firsts = np.array([segment.first_row for segment in self._segments], dtype=np.int64)
        part_of = np.searchsorted(firsts, rows, side="right") - 1
        return _StoredVectors(parts, windows, starts[part_of] + (rows - firsts[part_of]) * self._dim, self._dim)

    def verify(self) -> None:
        """Compare size and SHA-256 of every file with what its segment says.

        Raises:
            ArtifactCorrupt: At the first file that differs.
            ArtifactNotFound, StorageError: If a file is gone or cannot be read.
        """
        for segment in self._segments:
            verify_segment(self._folder, segment.name)

    def _keys(self) -> KeyTable:
        """Read and sort the keys when they are first asked for: searching needs none."""
        if self._table is None:
            table = KeyTable()
            if self._segments:
                files = [(self._folder / f"{segment.name}.keys", segment.count) for segment in self._segments]
                parts = [storage.map_array(path, KEY, (count,)) for path, count in files]
                table.add(np.concatenate(parts), first_row=0)
            self._table = table  # only now: half of it would say of stored texts that they are new
        return self._table

    def _attach(self, segment: Segment) -> None:
        part = storage.map_array(self._folder / f"{segment.name}.f32", "<f4", (segment.count, self._dim))
        self._parts.append(part)
        self._segments = (*self._segments, segment)

    def _refuse_duplicates(self, keys: npt.NDArray[np.void]) -> None:
        stored = np.flatnonzero(self._keys().find(keys) >= 0)
        if stored.size:
            raise ValueError(
                f"{stored.size} of {len(keys)} keys are stored already; the first is {bytes(keys[stored[0]]).hex()}"
            )
        ordered = np.sort(keys)
        twice = np.flatnonzero(ordered[1:] == ordered[:-1])
        if twice.size:
            raise ValueError(
                f"{twice.size} of {len(keys)} keys come twice; the first is {bytes(ordered[twice[0]]).hex()}"
            )


@dataclass(frozen=True, slots=True)
class _StoredVectors:
    """Rows of a store in an order of their own; implements `Vectors`.

    Attributes:
        parts: The segments, which live as long as this.
        windows: All of them as `_windows` sees them.
        places: Of every row in ``windows``, int64 [n].
        dim: Of the vectors.
    """

    parts: tuple[FloatMatrix, ...]
    windows: FloatMatrix
    places: IntVector
    dim: int

    @property
    def count(self) -> int:
        return len(self.places)

    @property
    def matrix(self) -> FloatMatrix | None:
        return self._run(self.places)

    def take(self, rows: IntVector) -> FloatMatrix:
        return self.windows[self.places[rows]]

    def blocks(self, size: int) -> Iterator[tuple[int, FloatMatrix]]:
        for first in range(0, self.count, size):
            wanted = self.places[first : first + size]
            run = self._run(wanted)
            yield first, self.windows[wanted] if run is None else run

    def _run(self, places: IntVector) -> FloatMatrix | None:
        """Return the vectors at these places without copying them, when they follow one another."""
        if not len(places) or (np.diff(places) != self.dim).any():
            return None
        return self.windows[places[0] :: self.dim][: len(places)]


def _windows(parts: Sequence[FloatMatrix], dim: int) -> tuple[FloatMatrix, IntVector]:
    """Return one array in which a row of any part can be named, and where each part begins in it.

    A store of many segments is gathered from for every query, and a loop over the segments costs ten times the
    gathering itself (measured: 104 rows of 49 segments). So all of them are seen as one stretch of addresses: element
    ``i`` of the result is the ``dim`` numbers from the ``i``-th place on. What lies between the parts is never named.

    Args:
        parts: float32 [n, dim], C-contiguous; whoever keeps the result keeps them.
        dim: Their dimension.

    Returns:
        float32 [places, dim], overlapping and read-only, and the place of each part's first row, int64 [parts].
    """
    addresses = np.array([part.ctypes.data for part in parts], dtype=np.int64)
    low = int(addresses.min())
    size = max(int(address) + part.nbytes for address, part in zip(addresses, parts, strict=True)) - low
    width = ctypes.sizeof(ctypes.c_float)
    stretch = np.ctypeslib.as_array((ctypes.c_float * (size // width)).from_address(low))
    windows = as_strided(stretch, (len(stretch) - dim + 1, dim), (width, width), writeable=False)
    return windows, (addresses - low) // width
