"""All file I/O of artefacts: whole writes, synced before they are named, and errors that say what to do.

A write is complete or absent. What must survive a power cut is published in this order: write, fsync the file, fsync
its folder, rename, fsync the folder of the new name. Every system call goes through `indexing.filesystem`.
"""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from indexing.errors import (
    ArtifactCorrupt,
    ArtifactNotFound,
    ArtifactUntrusted,
    CommitUncertain,
    StorageError,
    StorageFull,
)
from indexing.filesystem import FileSystem, explained, system, using
from indexing.lock import exclusive_lock

__all__ = [
    "FileDigest",
    "FileSystem",
    "FileWriter",
    "adopt",
    "adopt_folder",
    "digest",
    "exclusive_lock",
    "link_or_copy",
    "list_folder",
    "make_folder",
    "map_array",
    "publish_folder",
    "read_bytes",
    "read_json",
    "remove_file",
    "remove_folder",
    "replace_bytes",
    "replace_json",
    "require_space",
    "sync_folder",
    "using",
    "write_bytes",
    "write_json",
    "writer",
]

Content: TypeAlias = bytes | bytearray | memoryview | npt.NDArray[Any]
"""Anything with a C-contiguous buffer."""

_CHUNK_BYTES = 1 << 20  # read unit: large enough that system calls cost nothing beside SHA-256 (about 1 GiB/s a core)


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size and SHA-256 (hexadecimal) of a file."""

    size_bytes: int
    sha256: str


# --- reading ----------------------------------------------------------------------------------------------------------


def read_bytes(path: Path) -> bytes:
    """Return the whole content of a file.

    Raises:
        ArtifactNotFound: If there is no such file.
        ArtifactUntrusted: If it is not a regular file.
        StorageError: If it cannot be read.
    """
    with _reading(path) as descriptor:
        return b"".join(_chunks(descriptor))


def read_json(path: Path) -> Any:  # noqa: ANN401 - what the JSON holds is for the caller to check
    """Return the value a JSON file holds.

    Raises:
        ArtifactCorrupt: If it is not UTF-8 or not strict JSON (NaN and Infinity are not).
        ArtifactNotFound, ArtifactUntrusted, StorageError: As `read_bytes`.
    """
    content = read_bytes(path)
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactCorrupt(
            f"expected UTF-8 JSON in {path}, got {len(content)} bytes that do not parse: {error}"
        ) from error


def digest(path: Path) -> FileDigest:
    """Return size and SHA-256 of a file, read in pieces.

    Raises:
        ArtifactNotFound, ArtifactUntrusted, StorageError: As `read_bytes`.
    """
    with _reading(path) as descriptor:
        return _digest_open(descriptor)


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
    with _reading(path) as descriptor:
        size = system().stat(descriptor).st_size
        if size != expected:
            raise ArtifactCorrupt(
                f"expected {expected} bytes ({element.name} {list(shape)}) in {path}, found {size}; build it again"
            )
        if expected == 0:
            return np.empty(shape, dtype=element)
        return np.frombuffer(system().map(descriptor, expected), dtype=element).reshape(shape)


# --- writing ----------------------------------------------------------------------------------------------------------


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
        with _closing(path, descriptor):
            yield FileWriter(path, descriptor)
            with explained("sync", path):
                system().fsync(descriptor)
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
        CommitUncertain: The new content is visible, but the sync of its folder failed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    written = write_bytes(temporary, content)
    try:
        with explained("rename", path):
            system().rename(temporary, path)
    except StorageError:
        with suppress(OSError):
            system().unlink(temporary)
        raise
    _confirm(path)
    return written


def replace_json(path: Path, value: Any) -> FileDigest:  # noqa: ANN401 - any JSON value
    """`replace_bytes` with the bytes `write_json` would write."""
    return replace_bytes(path, _json_bytes(value))


def adopt(path: Path, *, minimum_bytes: int = 1) -> FileDigest:
    """Take over a file that a library wrote: check its length, sync it, hash it.

    Some libraries report success on a full disk (faiss leaves 0 bytes), hence the length.

    Raises:
        StorageError: If it is shorter than ``minimum_bytes`` or cannot be synced.
        ArtifactNotFound, ArtifactUntrusted: If it is not there, or not a regular file.
    """
    with _reading(path) as descriptor:
        size = system().stat(descriptor).st_size
        if size < minimum_bytes:
            raise StorageError(f"expected at least {minimum_bytes} bytes in {path}, found {size}; is the disk full?")
        system().fsync(descriptor)
        return _digest_open(descriptor)


def adopt_folder(path: Path) -> dict[str, FileDigest]:
    """`adopt` every file below a folder and sync its folders; names are relative, with ``/``, in sorted order.

    Empty files are allowed here: some formats have them.

    Raises:
        ArtifactUntrusted: If something below it is neither a folder nor a regular file.
        ArtifactNotFound, StorageError: As `adopt`.
    """
    digests = {}
    for folder, files in _walk(path):
        for file in files:
            digests[file.relative_to(path).as_posix()] = adopt(file, minimum_bytes=0)
        sync_folder(folder)
    return dict(sorted(digests.items()))


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
        with _reading(source) as descriptor, writer(target) as copy:
            for chunk in _chunks(descriptor):
                copy.write(chunk)


# --- folders ----------------------------------------------------------------------------------------------------------


def make_folder(path: Path) -> None:
    """Create a folder and those above it; one that exists is fine. Each new entry is synced.

    Raises:
        StorageFull, StorageError: If it cannot be created, or something else has that name.
    """
    if _is_folder(path):
        return
    if path.parent != path:
        make_folder(path.parent)
    with explained("create", path):
        try:
            system().mkdir(path)
        except FileExistsError:
            if not _is_folder(path):  # another process may have been first, which is fine
                raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Flush the entries of a folder, so that the names in it survive a power cut.

    Raises:
        StorageError: If there is no such folder or the sync fails; a failed sync is never tried again.
    """
    with explained("sync", path):
        descriptor = system().open(path, os.O_RDONLY | os.O_DIRECTORY)
        with _closing(path, descriptor):
            system().fsync(descriptor)


def list_folder(path: Path) -> list[str]:
    """Return the names in a folder, sorted.

    Raises:
        ArtifactNotFound: If there is no such folder.
        StorageError: If it cannot be listed.
    """
    if not _is_folder(path):
        raise ArtifactNotFound(f"there is no folder {path}; check the path, or build it again")
    with explained("list", path):
        return sorted(system().listdir(path))


def remove_file(path: Path) -> None:
    """Remove a file or a link; none there is fine.

    Raises:
        StorageError: If it cannot be removed.
    """
    with explained("remove", path), suppress(FileNotFoundError):
        system().unlink(path)


def remove_folder(path: Path) -> None:
    """Remove a folder and everything below it; links are removed, not followed. None there is fine.

    Raises:
        StorageError: If something in it cannot be removed.
    """
    if not _is_folder(path, follow=False):
        return
    with explained("remove", path):
        for name in system().listdir(path):
            if _is_folder(path / name, follow=False):
                remove_folder(path / name)
            else:
                system().unlink(path / name)
        system().rmdir(path)


def publish_folder(staging: Path, final: Path) -> None:
    """Give a finished folder its name, atomically and durably.

    The files in it must have been written or adopted here, so that their bytes are synced already.

    Raises:
        StorageError: If ``final`` exists or the rename fails; ``staging`` is as it was.
        CommitUncertain: ``final`` is visible, but the sync of its parent failed.
        ArtifactUntrusted: If ``staging`` holds something that is neither a folder nor a regular file.
    """
    for folder, _files in _walk(staging):
        sync_folder(folder)
    with explained("publish", final):
        if _exists(final):  # a rename would silently replace an empty folder
            raise OSError(errno.EEXIST, "it exists already")
        system().rename(staging, final)
    _confirm(final)


def require_space(folder: Path, needed_bytes: int) -> None:
    """Refuse to start what will not fit.

    Args:
        folder: Where it will be written; if it does not exist yet, the nearest folder above it that does counts.
        needed_bytes: Bytes about to be written.

    Raises:
        StorageFull: If the device has less room than that.
    """
    existing = folder.absolute()
    while not _exists(existing):
        existing = existing.parent
    with explained("measure the free space of", existing):
        free = system().free_bytes(existing)
    if free < needed_bytes:
        raise StorageFull(
            f"{needed_bytes / 2**20:,.1f} MiB are needed in {folder}, its device has {free / 2**20:,.1f} MiB left; "
            f"free some space or write somewhere else"
        )


# --- inside -----------------------------------------------------------------------------------------------------------


@contextmanager
def _reading(path: Path) -> Iterator[int]:
    """Open a regular file for reading; not waiting, so that a pipe in its place cannot hang the open."""
    try:
        with explained("open", path):
            descriptor = system().open(path, os.O_RDONLY | os.O_NONBLOCK)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            raise ArtifactNotFound(f"there is no file {path}; check the path, or build it again") from error
        raise
    with _closing(path, descriptor), explained("read", path):
        if not stat.S_ISREG(system().stat(descriptor).st_mode):
            raise ArtifactUntrusted(f"expected a regular file at {path}, found something else")
        yield descriptor


@contextmanager
def _closing(path: Path, descriptor: int) -> Iterator[None]:
    """Close at the end; a failing close is an error like any other, unless there is one already."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            system().close(descriptor)
        raise
    with explained("close", path):
        system().close(descriptor)


def _chunks(descriptor: int) -> Iterator[bytes]:
    while chunk := system().read(descriptor, _CHUNK_BYTES):
        yield chunk


def _digest_open(descriptor: int) -> FileDigest:
    sha256, size_bytes = hashlib.sha256(), 0
    for chunk in _chunks(descriptor):
        sha256.update(chunk)
        size_bytes += len(chunk)
    return FileDigest(size_bytes=size_bytes, sha256=sha256.hexdigest())


def _confirm(path: Path) -> None:
    """Sync the folder of a name that was just made visible."""
    try:
        sync_folder(path.parent)
    except StorageError as error:
        raise CommitUncertain(
            f"{path} is in place, but whether it survives a power cut is not known: {error}"
        ) from error


def _json_bytes(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("utf-8")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _walk(path: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield every folder with its regular files, the deepest folders first."""
    files = []
    with explained("list", path):
        names = sorted(system().listdir(path))
    for name in names:
        with explained("look at", path / name):
            mode = system().lstat(path / name).st_mode
        if stat.S_ISDIR(mode):
            yield from _walk(path / name)
        elif stat.S_ISREG(mode):
            files.append(path / name)
        else:
            raise ArtifactUntrusted(f"expected folders and regular files only, found something else at {path / name}")
    yield path, files


def _exists(path: Path) -> bool:
    """Whether the name is taken, by a link that leads nowhere as well."""
    with explained("look at", path):
        try:
            system().lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


def _is_folder(path: Path, *, follow: bool = True) -> bool:
    """Whether ``path`` is a folder, or a link to one when links are followed."""
    with explained("look at", path):
        try:
            found = system().stat(path) if follow else system().lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return stat.S_ISDIR(found.st_mode)
