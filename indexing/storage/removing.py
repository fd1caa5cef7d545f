"""Removing: a folder goes whole or not at all, and what a killed process left beside the names is cleared away."""

import re
from contextlib import suppress
from pathlib import Path

from indexing.storage.filesystem import explained, system
from indexing.storage.folders import is_folder, remove_folder, sync_folder

_LEFT_BEHIND = re.compile(r"\..+\.(\d+-[0-9a-f]{8}\.tmp|removed)")
"""Names that `replace_bytes` and `retire_folder` use while they are at work."""


def retire_folder(path: Path) -> None:
    """Remove a folder: whoever looks, also after a power cut, finds it whole or not at all.

    It is renamed first, and the rename is synced before the first file goes; a process that is killed meanwhile leaves
    what `remove_leftovers` clears away.

    Raises:
        StorageError: If it cannot be renamed (it stands as it was) or not all of it can be removed.
    """
    aside = path.with_name(f".{path.name}.removed")
    remove_folder(aside)
    with explained("remove", path):
        system().rename(path, aside)
    sync_folder(path.parent)
    remove_folder(aside)


def remove_leftovers(folder: Path) -> None:
    """Remove from a folder what writers left that were killed there; nobody may be writing in it. None there is fine.

    Raises:
        StorageError: If something cannot be removed.
    """
    if not is_folder(folder):
        return
    with explained("list", folder):
        names = [name for name in system().listdir(folder) if _LEFT_BEHIND.fullmatch(name)]
    for name in names:
        if is_folder(folder / name, follow=False):
            remove_folder(folder / name)
        else:
            with explained("remove", folder / name), suppress(FileNotFoundError):
                system().unlink(folder / name)
