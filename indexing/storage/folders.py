"""Folders: made, listed, synced and removed; and the room that is left."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from indexing.errors import (
    ArtifactNotFound,
    ArtifactUntrusted,
    CommitUncertain,
    StorageError,
    StorageFull,
)
from indexing.storage.filesystem import closing, explained, system


def make_folder(path: Path) -> None:
    """Create a folder and those above it; one that exists is fine.

    Its name is synced before anything can be put into it. So one that holds something needs no sync, and one that is
    empty does: whoever made it may have been killed before the sync.

    Raises:
        StorageFull, StorageError: If it cannot be created or synced, or something else has that name.
    """
    if is_folder(path):
        _settle(path)
        return
    if path.parent != path:
        make_folder(path.parent)
    with explained("create", path):
        try:
            system().mkdir(path)
        except FileExistsError:
            if not is_folder(path):  # another process may have been first, which is fine
                raise
    try:
        sync_folder(path.parent)
    except StorageError:
        with suppress(OSError):  # so that the next one makes it anew, and does not take a failed sync for a good one
            system().rmdir(path)
        raise


def _settle(path: Path) -> None:
    """Sync the name of a folder that exists and holds nothing yet."""
    with explained("list", path):
        if system().listdir(path):
            return
    try:
        sync_folder(path.parent)
    except StorageError as error:
        if not isinstance(error.__cause__, PermissionError):  # then somebody else made it, in a folder of theirs
            raise


def sync_folder(path: Path) -> None:
    """Flush the entries of a folder, so that the names in it survive a power cut.

    Raises:
        StorageError: If there is no such folder or the sync fails; a failed sync is never tried again.
    """
    with explained("sync", path):
        descriptor = system().open(path, os.O_RDONLY | os.O_DIRECTORY)
        with closing(path, descriptor):
            system().fsync(descriptor)


def list_folder(path: Path) -> list[str]:
    """Return the names in a folder, sorted.

    Raises:
        ArtifactNotFound: If there is no such folder.
        StorageError: If it cannot be listed.
    """
    if not is_folder(path):
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
    if not is_folder(path, follow=False):
        return
    with explained("remove", path):
        for name in system().listdir(path):
            if is_folder(path / name, follow=False):
                remove_folder(path / name)
            else:
                system().unlink(path / name)
        system().rmdir(path)


def require_space(folder: Path, needed_bytes: int) -> None:
    """Refuse to start what will not fit.

    Args:
        folder: Where it will be written; if it does not exist yet, the nearest folder above it that does counts.
        needed_bytes: Bytes about to be written.

    Raises:
        StorageFull: If the device has less room than that.
    """
    existing = folder.absolute()
    while not exists(existing):
        existing = existing.parent
    with explained("measure the free space of", existing):
        free = system().free_bytes(existing)
    if free < needed_bytes:
        raise StorageFull(
            f"{needed_bytes / 2**20:,.1f} MiB are needed in {folder}, its device has {free / 2**20:,.1f} MiB left; "
            f"free some space or write somewhere else"
        )


def confirm(path: Path, *, moved_to: Path | None = None) -> None:
    """Sync the folder of a name that was just made visible, or was just left for another."""
    try:
        sync_folder(path.parent)
    except StorageError as error:
        raise CommitUncertain(
            f"{moved_to or path} is in place, but whether it survives a power cut is not known: {error}"
        ) from error


def undone(uncertain: CommitUncertain, message: str) -> StorageError:
    """Return the error to raise once what was uncertain has been taken back: of the kind of its cause."""
    kind = StorageFull if isinstance(uncertain.__cause__, StorageFull) else StorageError
    return kind(f"{message}: {uncertain}")


def walk(path: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield every folder with its regular files, the deepest folders first."""
    files = []
    with explained("list", path):
        names = sorted(system().listdir(path))
    for name in names:
        with explained("look at", path / name):
            mode = system().lstat(path / name).st_mode
        if stat.S_ISDIR(mode):
            yield from walk(path / name)
        elif stat.S_ISREG(mode):
            files.append(path / name)
        else:
            raise ArtifactUntrusted(f"expected folders and regular files only, found something else at {path / name}")
    yield path, files


def exists(path: Path) -> bool:
    """Whether the name is taken, by a link that leads nowhere as well."""
    with explained("look at", path):
        try:
            system().lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


def is_folder(path: Path, *, follow: bool = True) -> bool:
    """Whether ``path`` is a folder, or a link to one when links are followed."""
    with explained("look at", path):
        try:
            found = system().stat(path) if follow else system().lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return stat.S_ISDIR(found.st_mode)
