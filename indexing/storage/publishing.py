"""Taking over what libraries wrote, and giving a finished folder its name."""

import errno
import stat
from contextlib import suppress
from pathlib import Path

from indexing.errors import (
    StorageError,
)
from indexing.storage.filesystem import explained, system
from indexing.storage.folders import confirm, exists, sync_folder, walk
from indexing.storage.reading import FileDigest, digest_open, reading

_READ = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


def adopt(path: Path, *, minimum_bytes: int = 1) -> FileDigest:
    """Take over a file that a library wrote: check its length, let those read it who may read its folder, sync, hash.

    Some libraries report success on a full disk (faiss leaves 0 bytes), hence the length. Some write for their user
    alone (safetensors, mode 0600), hence the permissions: an artefact may be built by one user and served by another.

    Raises:
        StorageError: If it is shorter than ``minimum_bytes`` or cannot be synced.
        ArtifactNotFound, ArtifactUntrusted: If it is not there, or not a regular file.
    """
    with reading(path) as descriptor:
        found = system().stat(descriptor)
        if found.st_size < minimum_bytes:
            raise StorageError(
                f"expected at least {minimum_bytes} bytes in {path}, found {found.st_size}; is the disk full?"
            )
        readers = system().stat(path.parent).st_mode & _READ  # the folder has what the umask leaves
        if found.st_mode & readers != readers:
            system().chmod(descriptor, stat.S_IMODE(found.st_mode) | readers)
        system().fsync(descriptor)
        return digest_open(descriptor)


def adopt_folder(path: Path) -> dict[str, FileDigest]:
    """`adopt` every file below a folder and sync its folders; names are relative, with ``/``, in sorted order.

    Empty files are allowed here: some formats have them.

    Raises:
        ArtifactUntrusted: If something below it is neither a folder nor a regular file.
        ArtifactNotFound, StorageError: As `adopt`.
    """
    digests = {}
    for folder, files in walk(path):
        for file in files:
            digests[file.relative_to(path).as_posix()] = adopt(file, minimum_bytes=0)
        sync_folder(folder)
    return dict(sorted(digests.items()))


def move_file(source: Path, target: Path) -> None:
    """Rename a file; none there is fine. The caller syncs both folders.

    Raises:
        StorageError: If it cannot be renamed.
    """
    with explained("move", source), suppress(FileNotFoundError):
        system().rename(source, target)


def publish_folder(staging: Path, final: Path) -> None:
    """Give a finished folder its name, atomically and durably.

    The files in it must have been written or adopted here, so that their bytes are synced already.

    Raises:
        StorageError: If ``final`` exists or the rename fails; ``staging`` is as it was.
        CommitUncertain: ``final`` is visible, but the sync of its parent, or of the one it left, failed.
        ArtifactUntrusted: If ``staging`` holds something that is neither a folder nor a regular file.
    """
    for folder, _files in walk(staging):
        sync_folder(folder)
    with explained("publish", final):
        if exists(final):  # a rename would silently replace an empty folder
            raise OSError(errno.EEXIST, "it exists already")
        system().rename(staging, final)
    confirm(final)
    if staging.parent != final.parent:
        confirm(staging, moved_to=final)
