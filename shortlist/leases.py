"""A version in use is not removed: its readers hold its manifest, and who would remove it must hold it alone.

A lease is a shared ``flock`` on the version's ``MANIFEST.json``. It needs no write access, so it works for readers on a
read-only file system; it leaves no file behind; and the kernel gives it back when the reader dies. A reader that comes
too late is told that the version is gone, and reads ``CURRENT`` again.
"""

from pathlib import Path

from indexing import storage
from indexing.errors import ArtifactNotFound
from indexing.storage import Hold

MANIFEST = "MANIFEST.json"
"""Every version has its own, never shared between versions by hard links as other files are."""


def lease(folder: Path) -> Hold:
    """Keep a version from being collected until the lease is closed or garbage, or this process ends.

    Args:
        folder: The version's folder, ``<bundle>/versions/<version>``.

    Raises:
        ArtifactNotFound: The version was never published, or was removed, or is being removed.
        ArtifactUntrusted: Its manifest is not a regular file.
        StorageError: It cannot be opened.
    """
    try:
        held = storage.hold(folder / MANIFEST)
    except ArtifactNotFound:
        held = None
    if held is None:
        raise ArtifactNotFound(f"{folder / MANIFEST} is missing: the version was removed or never published")
    return held
