"""Writing files: a write is complete and synced, or it is absent."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from indexing.errors import (
    CommitUncertain,
    StorageError,
)
from indexing.storage.filesystem import closing, explained, system
from indexing.storage.folders import confirm, exists
from indexing.storage.reading import FileDigest, chunks, reading

Content: TypeAlias = bytes | bytearray | memoryview | npt.NDArray[Any]
"""Anything with a C-contiguous buffer."""


class FileWriter:
    """An open new file: takes whole buffers, hashes what it took. Made by `writer`."""

    __slots__ = ("_descriptor", "_path", "_sha256", "size_bytes")

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def write(self, content: Content) -> int:
        """Write all of ``content`` and return its length in bytes.

        Raises:
            StorageFull, StorageError: If the file system takes less than all of it.
        """
        view = content.data if isinstance(content, np.ndarray) else memoryview(content)
        if view.nbytes == 0:  # an empty array cannot be cast
            return 0
        view = view.cast("B")
        with explained("write", self._path):
            written = 0
            while written < len(view):
                taken = system().write(self._descriptor, view[written:])
                if taken <= 0:
                    raise OSError(errno.EIO, f"{taken} of {len(view) - written} bytes were taken")
                written += taken
        self._sha256.update(view)
        self.size_bytes += written
        return written

    @property
    def digest(self) -> FileDigest:
        """Size and SHA-256 of what was written so far."""
        return FileDigest(size_bytes=self.size_bytes, sha256=self._sha256.hexdigest())


@contextmanager
def writer(path: Path) -> Iterator[FileWriter]:
    """Create a file that must not exist yet; it is synced when the block ends well and removed when it does not.

    Raises:
        StorageFull, StorageError: If it exists already, or creating, writing, syncing or closing fails.
    """
    with explained("create", path):
        descriptor = system().open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with closing(path, descriptor):
            file = FileWriter(path, descriptor)
            yield file
            with explained("sync", path):
                system().fsync(descriptor)
                size = system().stat(descriptor).st_size
            if size != file.size_bytes:
                raise StorageError(f"expected {file.size_bytes} bytes in {path}, the file system kept {size}; check it")
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            system().unlink(path)
        raise


def write_bytes(path: Path, content: Content) -> FileDigest:
    """Create a file with this content and sync it; the folder is synced by whoever publishes it.

    Raises:
        StorageFull, StorageError: As `writer`; nothing is left behind.
    """
    with writer(path) as file:
        file.write(content)
    return file.digest


def write_json(path: Path, value: Any) -> FileDigest:  # noqa: ANN401 - any JSON value
    """Create a JSON file: UTF-8, sorted keys, indent 1, final newline, so that equal values give equal bytes.

    Raises:
        ValueError: If ``value`` holds NaN or an infinity.
        TypeError: If it holds something JSON has no word for.
        StorageFull, StorageError: As `writer`.
    """
    return write_bytes(path, _json_bytes(value))


def replace_bytes(path: Path, content: Content) -> FileDigest:
    """Give ``path`` this content atomically: a reader, or the next boot, sees the old file or the new one.

    A process that is killed meanwhile may leave a file ending in ``.tmp``, which nobody reads.

    Raises:
        StorageFull, StorageError: The old content stands.
        CommitUncertain: The new content is visible, but the sync of its folder failed; or a failed rename took place.
    """
    temporary = _temporary(path)
    written = write_bytes(temporary, content)
    _rename(temporary, path)
    confirm(path)
    return written


def create_bytes(path: Path, content: Content) -> FileDigest:
    """Make a new file appear whole: a reader, or the next boot, sees all of it or none.

    Two callers of one name must not meet: hold a lock. What a killed process leaves ends in ``.tmp``.

    Raises:
        StorageFull, StorageError: If there is a file of that name, or something fails; there is no new file.
        CommitUncertain: The file is visible, but the sync of its folder failed; or a failed rename took place.
    """
    with explained("create", path):
        if exists(path):
            raise OSError(errno.EEXIST, "it exists already")
    temporary = _temporary(path)
    written = write_bytes(temporary, content)
    try:
        _rename(temporary, path)
    except StorageError as error:
        if _may_exist(path):
            raise CommitUncertain(f"{path} may be in place although its rename failed: {error}") from error
        raise
    confirm(path)
    return written


def replace_json(path: Path, value: Any) -> FileDigest:  # noqa: ANN401 - any JSON value
    """`replace_bytes` with the bytes `write_json` would write."""
    return replace_bytes(path, _json_bytes(value))


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a synced copy where the file system cannot link.

    Raises:
        ArtifactNotFound: If ``source`` does not exist.
        StorageFull, StorageError: If ``target`` exists or cannot be written.
    """
    try:
        system().link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOENT):
            with explained("link", target):
                raise
        with reading(source) as descriptor, writer(target) as copy:
            for chunk in chunks(descriptor):
                copy.write(chunk)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")


def _rename(temporary: Path, path: Path) -> None:
    """Rename and remove what could not be renamed; a rename that was done although it failed is uncertain."""
    try:
        with explained("rename", path):
            system().rename(temporary, path)
    except StorageError as error:
        with suppress(OSError):
            try:
                system().unlink(temporary)
            except FileNotFoundError:  # there is nothing left to rename
                raise CommitUncertain(f"{path} may have been replaced: {error}; read it to find out") from error
        raise


def _may_exist(path: Path) -> bool:
    try:
        return exists(path)
    except StorageError:  # nobody knows
        return True


def _json_bytes(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("utf-8")
