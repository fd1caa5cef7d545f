"""A file held, for reading by many or for removal by one, until it is let go or its holder dies.

A hold is a ``flock``: it needs no write access, leaves nothing behind, and the kernel gives it back when the process
ends, however it ends.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from indexing.storage.filesystem import explained, system
from indexing.storage.reading import open_regular

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}  # file systems without flock
_NOT_FOR_READERS = {errno.EBADF, errno.EINVAL}  # NFS gives the exclusive lock only to who may write


class Hold:
    """A file that is held; made by `hold`, given back by `close`, at the end of a block, or with the last reference."""

    __slots__ = ("_descriptor", "_pid", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._pid = os.getpid()

    def close(self) -> None:
        """Give the file back; a second call does nothing. In a forked child, only the child's copy is closed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        with suppress(OSError):  # closing gives it back in any case
            if os.getpid() == self._pid:  # a child of it that lives on must not keep what its parent let go
                system().unlock(descriptor)
        with suppress(OSError):
            system().close(descriptor)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the file back."""
        self.close()

    def __del__(self) -> None:
        """Give the file back when nobody refers to it any more."""
        self.close()


def hold(path: Path, *, alone: bool = False) -> Hold | None:
    """Hold a file, without waiting.

    Args:
        path: A regular file.
        alone: Hold it only if nobody else does, and keep others from it; otherwise many may hold it at a time.

    Returns:
        The hold; ``None`` when another's hold stands against it, or the file was replaced or moved away meanwhile. On
        a file system without locks everybody may hold a file and nobody alone.

    Raises:
        ArtifactNotFound, ArtifactUntrusted, StorageError: If there is no such file, it is not a regular one, or it
            cannot be opened.
    """
    descriptor = open_regular(path)
    held = Hold(path, descriptor)
    with explained("lock", path):
        try:
            system().lock(descriptor) if alone else system().lock_shared(descriptor)
        except BlockingIOError:
            held.close()
            return None
        except OSError as error:
            if alone and error.errno in _NO_LOCKS | _NOT_FOR_READERS:
                held.close()
                return None
            if error.errno not in _NO_LOCKS:
                held.close()
                raise
    if not _leads_to(path, descriptor):
        held.close()
        return None
    return held


def _leads_to(path: Path, descriptor: int) -> bool:
    """Whether ``path`` is still a name of the open file: it may have been removed before the lock was had."""
    with explained("look at", path):
        opened = system().stat(descriptor)
        try:
            named = system().stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
    return (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)
