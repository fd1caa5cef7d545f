"""Digests remembered from the last opening, for callers who choose not to read every byte again.

A digest is found by what the file system says of a file: device, inode, size, and the times of its last change of
content and of state. Whoever writes to the file, replaces it or sets its times changes one of them, and it is hashed
again.

What this cannot see: bits that rot on the device, or that somebody writes past the file system; a clock that was set
back to the same nanosecond; a cache that somebody changed who may write to the bundle anyway. So it is never used
unless asked for.
"""

import hashlib
import logging
import os
import time
from pathlib import Path

from indexing import storage
from indexing.errors import ArtifactError, StorageError
from indexing.storage import FileDigest
from shortlist.manifest import SHA256

FORMAT = 1

SETTLED_S = 2.0
"""A file that changed less than this ago is not remembered: a second change within the clock's step (4 ms on most
kernels, 2 s on FAT) would look like none. Git calls such entries racy."""

_log = logging.getLogger(__name__)


class DigestCache:
    """The digests of one bundle's files, in ``<bundle>/cache/digests.json``.

    Where that cannot be written, in ``$XDG_CACHE_HOME/shortlist`` (``~/.cache/shortlist``), under a name made of the
    bundle's path; where that cannot be written either, nowhere.
    """

    def __init__(self, root: Path) -> None:
        """Read what is remembered; a cache that does not parse is as good as none."""
        self._path = _place(root)
        self._known = _read(self._path)
        self._seen: dict[str, str] = {}

    def digest(self, path: Path) -> FileDigest:
        """Return size and SHA-256 of a file, from memory when it has not changed since it was hashed.

        Raises:
            ArtifactNotFound, ArtifactUntrusted, StorageError: As `storage.digest`.
        """
        before = _identity(path)
        sha256 = self._known.get(before, "")
        found = FileDigest(int(before.split(":")[2]), sha256) if sha256 else storage.digest(path)
        if before and before == _identity(path):
            self._seen[before] = found.sha256
        return found

    def write(self) -> None:
        """Remember the files that were asked for, and only those; failing to is no error."""
        if self._seen == self._known:
            return
        try:
            storage.make_folder(self._path.parent)
            storage.replace_json(self._path, {"format": FORMAT, "digests": self._seen})
        except (StorageError, ArtifactError) as error:
            _log.warning("digests are not remembered: %s", error)


def _identity(path: Path) -> str:
    """Return what the file system says of a settled regular file, or nothing."""
    try:
        status = path.lstat()
    except OSError:
        return ""
    if time.time() - max(status.st_mtime, status.st_ctime) < SETTLED_S:
        return ""
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _place(root: Path) -> Path:
    inside = root / "cache"
    if os.access(inside if inside.exists() else root, os.W_OK):
        return inside / "digests.json"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return home / "shortlist" / f"{name}.json"


def _read(path: Path) -> dict[str, str]:
    try:
        content = storage.read_json(path)
    except (ArtifactError, StorageError):
        return {}
    digests = content.get("digests") if isinstance(content, dict) and content.get("format") == FORMAT else None
    if not isinstance(digests, dict):
        return {}
    return {key: value for key, value in digests.items() if isinstance(value, str) and SHA256.fullmatch(value)}
