"""Reading files: whole, as JSON, mapped, hashed."""

import hashlib
import io
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from indexing.errors import (
    ArtifactCorrupt,
    ArtifactNotFound,
    ArtifactUntrusted,
    StorageError,
)
from indexing.storage.filesystem import closing, explained, system

_CHUNK_BYTES = 1 << 20  # read unit: large enough that system calls cost nothing beside SHA-256 (about 1 GiB/s a core)


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size and SHA-256 (hexadecimal) of a file."""

    size_bytes: int
    sha256: str


def read_bytes(path: Path, *, at_most_bytes: int | None = None) -> bytes:
    """Return the whole content of a file.

    Args:
        path: A regular file.
        at_most_bytes: Refuse a longer one before it is read; ``None`` takes any length.

    Raises:
        ArtifactNotFound: If there is no such file.
        ArtifactUntrusted: If it is not a regular file.
        ArtifactCorrupt: If it is longer than ``at_most_bytes``.
        StorageError: If it cannot be read.
    """
    with reading(path) as descriptor:
        size = system().stat(descriptor).st_size
        if at_most_bytes is not None and size > at_most_bytes:
            raise ArtifactCorrupt(f"expected at most {at_most_bytes} bytes in {path}, found {size}; build it again")
        return b"".join(chunks(descriptor))


def read_json(path: Path, *, foreign: bool = False) -> Any:  # noqa: ANN401 - the caller checks what it holds
    """Return the value a JSON file holds.

    Args:
        path: The file.
        foreign: Written by another library: whole numbers of any size are taken (transformers writes 10**30 for no
            limit).

    Raises:
        ArtifactCorrupt: As `parse_json`.
        ArtifactNotFound, ArtifactUntrusted, StorageError: As `read_bytes`.
    """
    return parse_json(read_bytes(path), where=path, foreign=foreign)


def parse_json(content: bytes, *, where: Path, foreign: bool = False) -> Any:  # noqa: ANN401 - as above
    """Return the value that the bytes of a JSON file say.

    Args:
        content: UTF-8.
        where: The file, for messages.
        foreign: As for `read_json`.

    Raises:
        ArtifactCorrupt: If it is not UTF-8 or not strict JSON: NaN and Infinity are not, nor a key that comes twice
            (which of the two counts is every parser's own choice), nor a number beyond 64 bits.
    """
    try:
        return json.loads(
            content.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_int=int if foreign else _int64,
            parse_float=_finite,
            object_pairs_hook=_without_duplicates,
        )
    except (ValueError, RecursionError) as error:
        raise ArtifactCorrupt(
            f"expected UTF-8 JSON in {where}, got {len(content)} bytes that do not parse: {error}"
        ) from error


def digest(path: Path) -> FileDigest:
    """Return size and SHA-256 of a file, read in pieces.

    Raises:
        ArtifactNotFound, ArtifactUntrusted, StorageError: As `read_bytes`.
    """
    with reading(path) as descriptor:
        return digest_open(descriptor)


def map_array(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Map a raw file as a read-only array; pages are read when they are touched.

    Args:
        path: A file of exactly the array's bytes in C order, no header.
        dtype: Element type, byte order included (``"<f4"``).
        shape: Shape; an axis of length 0 needs an empty file.

    Raises:
        ArtifactCorrupt: If the file's size is not what dtype and shape need.
        ArtifactNotFound, ArtifactUntrusted, StorageError: As `read_bytes`.
    """
    element = np.dtype(dtype)
    expected = element.itemsize * int(np.prod(shape, dtype=np.int64))
    with reading(path) as descriptor:
        size = system().stat(descriptor).st_size
        if size != expected:
            raise ArtifactCorrupt(
                f"expected {expected} bytes ({element.name} {list(shape)}) in {path}, found {size}; build it again"
            )
        if expected == 0:
            return np.empty(shape, dtype=element)
        return np.frombuffer(system().map(descriptor, expected), dtype=element).reshape(shape)


@contextmanager
def reading(path: Path) -> Iterator[int]:
    """Open a regular file for reading and close it at the end."""
    descriptor = open_regular(path)
    with closing(path, descriptor), explained("read", path):
        yield descriptor


@contextmanager
def stream(path: Path, *, buffer_bytes: int) -> Iterator[io.BufferedReader]:
    """Open a regular file to be read once from its beginning, ``buffer_bytes`` at a time.

    Raises:
        ArtifactNotFound, ArtifactUntrusted, StorageError: As `read_bytes`.
    """
    with reading(path) as descriptor:
        yield io.BufferedReader(_Descriptor(descriptor), buffer_bytes)


class _Descriptor(io.RawIOBase):
    """The face of an open descriptor that `io.BufferedReader` needs; whoever opened it closes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer
        content = system().read(self._descriptor, len(buffer))
        buffer[: len(content)] = content
        return len(content)


def open_regular(path: Path) -> int:
    """Open a regular file for reading; not waiting, so that a pipe in its place cannot hang the open."""
    try:
        with explained("open", path):
            descriptor = system().open(path, os.O_RDONLY | os.O_NONBLOCK)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            raise ArtifactNotFound(f"there is no file {path}; check the path, or build it again") from error
        raise
    try:
        with explained("look at", path):
            if not stat.S_ISREG(system().stat(descriptor).st_mode):
                raise ArtifactUntrusted(f"expected a regular file at {path}, found something else")
    except BaseException:
        with suppress(OSError):
            system().close(descriptor)
        raise
    return descriptor


def chunks(descriptor: int) -> Iterator[bytes]:
    """Yield what is left of an open file."""
    while chunk := system().read(descriptor, _CHUNK_BYTES):
        yield chunk


def digest_open(descriptor: int) -> FileDigest:
    """Digest what is left of an open file."""
    sha256, size_bytes = hashlib.sha256(), 0
    for chunk in chunks(descriptor):
        sha256.update(chunk)
        size_bytes += len(chunk)
    return FileDigest(size_bytes=size_bytes, sha256=sha256.hexdigest())


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is beyond the numbers of 64 bits")
    return number


def _int64(digits: str) -> int:
    number = int(digits)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{digits} does not fit into 64 bits")
    return number


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice!r} comes twice")
    return values
