"""The files of a FAISS index: written through storage, walked before they are read, and what they come to in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss as _faiss

from indexing import storage
from indexing.errors import ArtifactCorrupt
from indexing.faiss_file import check_faiss_file
from indexing.faiss_kinds import Plan

faiss: Any = _faiss  # its own stubs know half of its names


@dataclass(frozen=True, slots=True)
class _File:
    """How a kind looks on disk (first four bytes: ``index_write.cpp`` of FAISS 1.15) and once read."""

    fourcc: bytes
    class_name: str


_FILES: Mapping[str, _File] = {
    "flat": _File(b"IxFI", "IndexFlatIP"),
    "hnsw": _File(b"IHNf", "IndexHNSWFlat"),
    "hnsw_sq8": _File(b"IHNs", "IndexHNSWSQ"),
    "ivf_sq8": _File(b"IwSq", "IndexIVFScalarQuantizer"),
    "ivf_pq": _File(b"IwPQ", "IndexIVFPQ"),
    "ivf_rabitq": _File(b"Iwrr", "IndexIVFRaBitQ"),
}
_ONE_BIT = _File(b"Iwrq", "IndexIVFRaBitQ")  # FAISS writes one bit per dimension as a type of its own


def _file_of(plan: Plan) -> _File:
    return _ONE_BIT if plan.parameters.get("bits") == 1 else _FILES[plan.kind]


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


def read(path: Path, plan: Plan, *, count: int, dim: int) -> Any:  # noqa: ANN401 - faiss has no types
    """Read an index that `write` wrote; its digest must have been checked, since FAISS accepts most damaged files.

    Raises:
        ArtifactUntrusted: If the file is of a type that is never written here (some open other files by path).
        ArtifactCorrupt: If FAISS refuses it, or it is not what ``plan``, ``count`` and ``dim`` say.
    """
    expected = _file_of(plan)
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
