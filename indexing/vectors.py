"""Vectors in memory and on disk: an array, and an append-only store of immutable segments.

A store is a folder. Segment 7 of it is three files: ``segment-000007.f32`` (float32, little-endian, C order, no
header), ``segment-000007.keys`` (16 bytes per row) and ``segment-000007.json`` (count, dimension, sizes and digests).
The JSON is written last, by rename: a segment without it does not exist.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from indexing import storage
from indexing.checks import check_vectors
from indexing.errors import ArtifactCorrupt, ArtifactIncompatible, StorageError
from indexing.keys import KEY, KEY_BYTES, KeyTable, key_array
from indexing.types import FloatMatrix, IntVector, Vectors

__all__ = ["KEY_BYTES", "ArrayVectors", "Segment", "VectorStore", "check_vectors"]

FORMAT_VERSION = 1

_SEGMENT = re.compile(r"segment-(\d{6})\.json")


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


@dataclass(frozen=True, slots=True)
class Segment:
    """One immutable part of a store.

    Attributes:
        name: ``segment-000007``.
        first_row: Store row of its first vector.
        count: Vectors in it.
        size_bytes: Size of its ``.f32`` file.
        sha256: Digest of its ``.f32`` file.
    """

    name: str
    first_row: int
    count: int
    size_bytes: int
    sha256: str


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
        segments: list[Segment] = []
        for number, name in enumerate(_segment_names(folder)):
            if name != _segment_name(number):
                raise ArtifactCorrupt(f"expected {_segment_name(number)}.json in {folder}, the next one is {name}.json")
            first_row = segments[-1].first_row + segments[-1].count if segments else 0
            segments.append(_read_segment(folder, name, dim=dim, first_row=first_row))
        return cls(folder, dim=dim, segments=segments)

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

    def find(self, keys: Sequence[bytes]) -> IntVector:
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
            CommitUncertain: It was added, but may not survive a power cut; open the store again.
        """
        matrix = check_vectors(vectors, dim=self._dim)
        wanted = key_array(keys)
        if len(wanted) != len(matrix):
            raise ValueError(f"expected one key per vector, got {len(wanted)} keys and {len(matrix)} vectors")
        self._refuse_duplicates(wanted)
        if not len(wanted):
            return np.empty(0, dtype=np.int64)
        segment = self._write_segment(wanted, matrix)
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
        firsts = np.array([segment.first_row for segment in self._segments], dtype=np.int64)
        return _StoredVectors(tuple(self._parts), firsts, np.array(rows, dtype=np.int64), self._dim)

    def verify(self) -> None:
        """Compare size and SHA-256 of every file with what its segment says.

        Raises:
            ArtifactCorrupt: At the first file that differs.
            ArtifactNotFound, StorageError: If a file is gone or cannot be read.
        """
        for segment in self._segments:
            expected = _segment_json(self._folder, segment.name)
            for suffix, field in ((".f32", "vectors"), (".keys", "keys")):
                path = self._folder / f"{segment.name}{suffix}"
                found = asdict(storage.digest(path))
                if found != expected[field]:
                    raise ArtifactCorrupt(
                        f"expected {expected[field]} of {path}, found {found}; remove the store and encode again"
                    )

    def _keys(self) -> KeyTable:
        """Read and sort the keys when they are first asked for: searching needs none."""
        if self._table is None:
            self._table = KeyTable()
            if self._segments:
                files = [(self._folder / f"{segment.name}.keys", segment.count) for segment in self._segments]
                parts = [storage.map_array(path, KEY, (count,)) for path, count in files]
                self._table.add(np.concatenate(parts), first_row=0)
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

    def _write_segment(self, keys: npt.NDArray[np.void], matrix: FloatMatrix) -> Segment:
        name = _segment_name(len(self._segments))
        if name in _segment_names(self._folder):
            raise StorageError(
                f"{name} appeared in {self._folder} meanwhile: another process appends to it; open it again"
            )
        storage.remove_file(self._folder / f"{name}.f32")  # left by an append that did not end
        storage.remove_file(self._folder / f"{name}.keys")
        vectors = storage.write_bytes(self._folder / f"{name}.f32", matrix.astype("<f4", copy=False))
        written_keys = storage.write_bytes(self._folder / f"{name}.keys", keys.view(np.uint8))
        storage.sync_folder(self._folder)
        storage.replace_json(
            self._folder / f"{name}.json",
            {
                "format": FORMAT_VERSION,
                "count": len(matrix),
                "dim": self._dim,
                "vectors": asdict(vectors),
                "keys": asdict(written_keys),
            },
        )
        return Segment(name, self.count, len(matrix), vectors.size_bytes, vectors.sha256)


@dataclass(frozen=True, slots=True)
class _StoredVectors:
    """Rows of a store in an order of their own; implements `Vectors`."""

    parts: tuple[FloatMatrix, ...]
    firsts: IntVector
    rows: IntVector
    dim: int

    @property
    def count(self) -> int:
        return len(self.rows)

    def take(self, rows: IntVector) -> FloatMatrix:
        return self._gather(self.rows[rows])

    def blocks(self, size: int) -> Iterator[tuple[int, FloatMatrix]]:
        for first in range(0, self.count, size):
            wanted = self.rows[first : first + size]
            part = int(np.searchsorted(self.firsts, wanted[0], side="right")) - 1
            start = int(wanted[0] - self.firsts[part])
            run = self.parts[part][start : start + len(wanted)]
            is_run = len(run) == len(wanted) and bool((np.diff(wanted) == 1).all())
            yield first, run if is_run else self._gather(wanted)

    def _gather(self, wanted: IntVector) -> FloatMatrix:
        gathered = np.empty((len(wanted), self.dim), dtype=np.float32)
        part_of = np.searchsorted(self.firsts, wanted, side="right") - 1
        for part in np.unique(part_of):
            here = part_of == part
            gathered[here] = self.parts[part][wanted[here] - self.firsts[part]]
        return gathered


def _segment_name(number: int) -> str:
    return f"segment-{number:06d}"


def _segment_names(folder: Path) -> list[str]:
    return [name.removesuffix(".json") for name in storage.list_folder(folder) if _SEGMENT.fullmatch(name)]


def _segment_json(folder: Path, name: str) -> Mapping[str, Any]:
    content = storage.read_json(folder / f"{name}.json")
    if not isinstance(content, dict) or not {"format", "count", "dim", "vectors", "keys"} <= content.keys():
        raise ArtifactCorrupt(
            f"expected format, count, dim, vectors and keys in {folder / name}.json, got {content!r:.200}"
        )
    return content


def _read_segment(folder: Path, name: str, *, dim: int, first_row: int) -> Segment:
    content = _segment_json(folder, name)
    if content["format"] != FORMAT_VERSION:
        raise ArtifactIncompatible(
            f"{folder / name}.json has format {content['format']}, this release reads {FORMAT_VERSION}"
        )
    if content["dim"] != dim:
        raise ArtifactIncompatible(
            f"{folder / name}.json has dim {content['dim']}, expected {dim}; use another store folder"
        )
    vectors = content["vectors"]
    try:
        return Segment(name, first_row, int(content["count"]), int(vectors["size_bytes"]), str(vectors["sha256"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactCorrupt(f"{folder / name}.json has no count, size or digest that can be read: {error}") from error
