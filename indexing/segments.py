"""The files of a vector store: immutable segments, written so that one is whole or does not exist.

Segment 7 is three files: ``segment-000007.f32`` (float32, little-endian, C order, no header), ``segment-000007.keys``
(16 bytes per row) and ``segment-000007.json`` (count, dimension, sizes and digests). The JSON is written last, by
rename: a segment without it does not exist.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexing import storage
from indexing.errors import (
    ArtifactCorrupt,
    ArtifactIncompatible,
    ArtifactNotFound,
    ArtifactUntrusted,
    CommitUncertain,
    StorageError,
)
from indexing.types import FloatMatrix

FORMAT_VERSION = 1

_RECORD = re.compile(r"segment-(\d{6})\.json")
_PARTS = {".f32": "vectors", ".keys": "keys"}
"""Suffix of a file -> its key in the record."""


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


@dataclass(frozen=True, slots=True)
class SetAside:
    """Segments that were found damaged, with all that came after them.

    Attributes:
        folder: Where their files lie now.
        problem: What is wrong with the first.
    """

    folder: Path
    problem: str


def read_segments(folder: Path, *, dim: int) -> list[Segment]:
    """Return the segments of a store in order; what the vectors are is not looked at.

    Raises:
        ArtifactNotFound: If there is no such folder.
        ArtifactCorrupt: If a segment is missing or its record does not parse.
        ArtifactIncompatible: If it holds vectors of another dimension, or was written in another format.
        StorageError: If it cannot be read.
    """
    segments: list[Segment] = []
    for number, name in enumerate(_recorded(folder)):
        first_row = segments[-1].first_row + segments[-1].count if segments else 0
        segments.append(_read(folder, name, number, dim=dim, first_row=first_row))
    return segments


def verify_segment(folder: Path, name: str) -> None:
    """Compare size and SHA-256 of a segment's files with its record.

    Raises:
        ArtifactCorrupt: At the first file that differs.
        ArtifactNotFound, StorageError: If a file is gone or cannot be read.
    """
    expected = _record(folder, name)
    for suffix, part in _PARTS.items():
        path = folder / f"{name}{suffix}"
        found = asdict(storage.digest(path))
        if found != expected[part]:
            raise ArtifactCorrupt(
                f"expected {expected[part]} of {path}, found {found}; the next build sets it aside and encodes again"
            )


def write_segment(
    folder: Path, segments: tuple[Segment, ...], keys: npt.NDArray[np.void], vectors: FloatMatrix
) -> Segment:
    """Write the segment after ``segments``; durable when this returns.

    Args:
        folder: The store, where nobody else writes.
        segments: Those that it holds.
        keys: Checked keys, [n].
        vectors: Checked vectors, float32 [n, d].

    Raises:
        StorageFull, StorageError: Nothing was added; what lies there is removed by the next append.
        CommitUncertain: It is in place but may not survive a power cut, and could not be removed either.
    """
    name = _name(len(segments))
    if name in _recorded(folder):
        raise StorageError(f"{name} appeared in {folder} meanwhile: another process appends to it; open it again")
    storage.remove_file(folder / f"{name}.f32")  # left by an append that did not end
    storage.remove_file(folder / f"{name}.keys")
    written = storage.write_bytes(folder / f"{name}.f32", vectors.astype("<f4", copy=False))
    written_keys = storage.write_bytes(folder / f"{name}.keys", keys.view(np.uint8))
    storage.sync_folder(folder)
    record = {
        "format": FORMAT_VERSION,
        "count": len(vectors),
        "dim": vectors.shape[1],
        "vectors": asdict(written),
        "keys": asdict(written_keys),
    }
    try:
        storage.replace_json(folder / f"{name}.json", record)
    except CommitUncertain as uncertain:
        _take_back(folder / f"{name}.json", uncertain)
    first_row = segments[-1].first_row + segments[-1].count if segments else 0
    return Segment(name, first_row, len(vectors), written.size_bytes, written.sha256)


def mend(folder: Path, *, dim: int) -> SetAside | None:
    """Prepare a store to be built upon: clear what a killed build left, verify every file, set damaged segments aside.

    Segments follow each other, so those after a damaged one go with it; those before it stay, and what uses only them
    is not touched. A version that uses one that was set aside was refused at opening already.

    Args:
        folder: The store, created when absent; nobody else writes there.
        dim: Dimension of its vectors.

    Returns:
        What was set aside; ``None`` when every segment is whole.

    Raises:
        ArtifactIncompatible: If it holds vectors of another dimension or format.
        StorageError: If a file cannot be read or moved.
    """
    storage.make_folder(folder)
    storage.remove_leftovers(folder)
    storage.sync_folder(folder)  # a build that was killed may not have synced the name of its last segment
    names = _recorded(folder)
    for number, name in enumerate(names):
        try:
            _read(folder, name, number, dim=dim, first_row=0)
            verify_segment(folder, name)
        except (ArtifactCorrupt, ArtifactNotFound, ArtifactUntrusted) as error:
            return SetAside(_set_aside(folder, names[number:]), str(error))
    return None


def _set_aside(folder: Path, names: list[str]) -> Path:
    """Move segments out of the store, the last first, so that what is left is a store at every moment."""
    moment = datetime.now(UTC)
    aside = folder.with_name(f"{folder.name}.damaged-{moment:%Y%m%dT%H%M%S}-{os.urandom(2).hex()}")
    storage.make_folder(aside)
    for name in reversed(names):
        for suffix in (".json", *_PARTS):
            storage.move_file(folder / f"{name}{suffix}", aside / f"{name}{suffix}")
    storage.sync_folder(aside)
    storage.sync_folder(folder)
    return aside


def _take_back(record: Path, uncertain: CommitUncertain) -> None:
    """Remove a segment whose name could not be synced: nothing may be built upon a sync that failed once."""
    try:
        storage.remove_file(record)
    except StorageError:
        raise uncertain from None
    raise storage.undone(uncertain, f"{record.stem} was not added to {record.parent}") from uncertain


def _name(number: int) -> str:
    return f"segment-{number:06d}"


def _recorded(folder: Path) -> list[str]:
    """Return the names of the segments that exist, in order."""
    return [name.removesuffix(".json") for name in storage.list_folder(folder) if _RECORD.fullmatch(name)]


def _record(folder: Path, name: str) -> Mapping[str, Any]:
    content = storage.read_json(folder / f"{name}.json")
    if not isinstance(content, dict) or not {"format", "count", "dim", "vectors", "keys"} <= content.keys():
        raise ArtifactCorrupt(
            f"expected format, count, dim, vectors and keys in {folder / name}.json, got {content!r:.200}"
        )
    return content


def _read(folder: Path, name: str, number: int, *, dim: int, first_row: int) -> Segment:
    if name != _name(number):
        raise ArtifactCorrupt(f"expected {_name(number)}.json in {folder}, the next one is {name}.json")
    content = _record(folder, name)
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
