"""The system calls that storage makes, behind one object that a test can replace with one that fails."""

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from indexing.errors import StorageError, StorageFull

_FULL = {errno.ENOSPC, errno.EDQUOT}

_ADVICE = {
    errno.ENOSPC: "free some space on that device, or write somewhere else",
    errno.EDQUOT: "free some of your disk quota, or write somewhere else",
    errno.EROFS: "that file system is read-only: write somewhere else",
    errno.EACCES: "check owner and permissions of the path",
    errno.EPERM: "check owner and permissions of the path",
    errno.EMFILE: "too many open files: raise the limit with `ulimit -n`",
    errno.ENFILE: "too many open files on this machine: close some programs",
    errno.EEXIST: "it was not expected to exist: remove it, or write somewhere else",
    errno.ENOTEMPTY: "it was not expected to exist: remove it, or write somewhere else",
    errno.ENOENT: "a folder on the way to it does not exist: create it first",
    errno.EIO: "the device reports errors: check it before trying again",
}


class FileSystem:
    """One method per system call, nothing else: no retries, no translation of errors, no state."""

    def open(self, path: Path, flags: int) -> int:
        """Open ``path`` (created with the permissions the umask leaves) and return its descriptor."""
        return os.open(path, flags | os.O_CLOEXEC, 0o666)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def read(self, descriptor: int, size_bytes: int) -> bytes:
        """Read up to ``size_bytes``; empty at the end of the file."""
        return os.read(descriptor, size_bytes)

    def write(self, descriptor: int, content: memoryview) -> int:
        """Write some of ``content`` and return how many bytes were taken."""
        return os.write(descriptor, content)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        """Cut the file to ``size_bytes``."""
        os.ftruncate(descriptor, size_bytes)

    def chmod(self, descriptor: int, mode: int) -> None:
        """Set the permissions of an open file."""
        os.fchmod(descriptor, mode)

    def fsync(self, descriptor: int) -> None:
        """Flush a file, or the entries of a folder, to the device."""
        os.fsync(descriptor)

    def map(self, descriptor: int, size_bytes: int) -> mmap.mmap:
        """Map the file for reading; ``size_bytes`` must be more than 0."""
        return mmap.mmap(descriptor, size_bytes, access=mmap.ACCESS_READ)

    def lock(self, descriptor: int) -> None:
        """Take the exclusive flock of the file, or raise BlockingIOError at once."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def lock_shared(self, descriptor: int) -> None:
        """Take a shared flock of the file, or raise BlockingIOError at once."""
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def unlock(self, descriptor: int) -> None:
        """Give the flock back, also for children that inherited the descriptor."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def rename(self, source: Path, target: Path) -> None:
        """Rename; an existing file at ``target`` is replaced atomically."""
        os.rename(source, target)  # noqa: PTH104 - system calls by their own names here

    def link(self, source: Path, target: Path) -> None:
        """Make ``target`` a second name of the file ``source``."""
        os.link(source, target)

    def mkdir(self, path: Path) -> None:
        """Create one folder."""
        os.mkdir(path)  # noqa: PTH102 - as above

    def unlink(self, path: Path) -> None:
        """Remove a file or a symbolic link."""
        os.unlink(path)  # noqa: PTH108 - as above

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
        os.rmdir(path)  # noqa: PTH106 - as above

    def listdir(self, path: Path) -> list[str]:
        """List the names in a folder, in no particular order."""
        return os.listdir(path)  # noqa: PTH208 - as above

    def stat(self, target: Path | int) -> os.stat_result:
        """Describe what a path leads to, or an open descriptor."""
        return os.stat(target)  # noqa: PTH116 - as above

    def lstat(self, path: Path) -> os.stat_result:
        """Describe a path; of a symbolic link, the link itself."""
        return os.lstat(path)

    def free_bytes(self, folder: Path) -> int:
        """Return how many bytes an ordinary user may still write on the device of ``folder``."""
        space = os.statvfs(folder)
        return space.f_bavail * space.f_frsize


_current = FileSystem()


def system() -> FileSystem:
    """Return the file system in use."""
    return _current


@contextmanager
def using(replacement: FileSystem) -> Iterator[FileSystem]:
    """Use another file system for the length of a ``with`` block: for tests, one thread at a time."""
    global _current
    previous, _current = _current, replacement
    try:
        yield replacement
    finally:
        _current = previous


@contextmanager
def explained(operation: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the block into StorageFull or StorageError, naming operation, path, cause and what to do."""
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in _FULL else StorageError
        advice = _ADVICE.get(error.errno or 0, "see the cause, then run again")
        raise kind(f"could not {operation} {path}: {error.strerror or error}; {advice}") from error


@contextmanager
def closing(path: Path, descriptor: int) -> Iterator[None]:
    """Close at the end; a failing close is an error like any other, unless there is one already."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            system().close(descriptor)
        raise
    with explained("close", path):
        system().close(descriptor)
