"""Versions over time: which are kept, which are removed when nobody uses them, and going back to an earlier one.

Names of versions rise with the order in which they were published. A version that is newer than the live one was either
abandoned by a rollback or left by a build that was killed between publishing and going live; the next build removes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from indexing import storage
from indexing.errors import ArtifactError, ConfigError
from indexing.storage import Hold
from retrieval.config import RuntimeConfig
from shortlist.bundle import (
    LOCK,
    VERSIONS,
    Bundle,
    live_version,
    make_live,
    open_version,
    read_manifest,
    version_names,
)
from shortlist.leases import MANIFEST
from shortlist.manifest import Manifest

KEPT_AT_LEAST = 2
"""The live version and the one to go back to."""

VECTORS = "vectors"


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did.

    Attributes:
        removed: Versions that are gone.
        in_use: Versions that would be, but that some process has open.
        stores: Vector stores that no version used and that are gone.
    """

    removed: tuple[str, ...] = ()
    in_use: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback did.

    Attributes:
        version: Live now.
        previous: Was live before.
    """

    version: str
    previous: str


def superseded(versions: Iterable[str], *, live: str, keep: int, previous: str = "") -> list[str]:
    """Return the versions that are not kept, oldest first.

    Kept are the live one, the one before it, and older ones up to ``keep`` in all; never one that is newer than live.

    Args:
        versions: All that are published.
        live: The live one.
        keep: How many stay, at least 2.
        previous: What was live before, when it is known; versions between it and ``live`` were never or are no more
            live. Default: the newest that is older than ``live``.
    """
    names = sorted(versions)
    before = [name for name in names if name < live and name <= (previous or live)]
    kept = {live, previous, *before[::-1][: keep - 1]}
    return [name for name in names if name not in kept]


def collect(root: Path, *, keep: int, previous: str = "", stores: bool = False) -> Collected:
    """Remove the versions that are not kept and that nobody has open; the caller holds the builders' lock.

    Args:
        root: The bundle directory.
        keep: How many versions stay; 0 keeps all.
        previous: As for `superseded`.
        stores: Remove vector stores that no version uses, too. They are what encoding costs hours for, so nothing does
            so unasked.

    Raises:
        ValueError: If ``keep`` is 1 or negative.
        ArtifactError: If CURRENT cannot be read: then nobody knows what is live, and nothing is removed.
        StorageError: If something cannot be removed; whatever is gone is gone whole.
    """
    if keep != 0 and keep < KEPT_AT_LEAST:
        raise ValueError(f"keep must be 0 (all) or at least {KEPT_AT_LEAST} (the live and the previous), got {keep}")
    live, _ = live_version(root)
    storage.sync_folder(root)  # what is live must survive a power cut before what was live goes
    storage.remove_leftovers(root / VERSIONS)
    names = superseded(version_names(root), live=live, keep=keep, previous=previous) if keep else []
    gone = {name: _retire(root / VERSIONS / name) for name in names}
    return Collected(
        removed=tuple(name for name in names if gone[name]),
        in_use=tuple(name for name in names if not gone[name]),
        stores=tuple(_unused_stores(root)) if stores else (),
    )


def version_manifests(root: Path) -> list[Manifest]:
    """Return what every version says of itself.

    Raises:
        ArtifactError, StorageError: Of one that cannot be read.
    """
    return [read_manifest(root / VERSIONS / name) for name in version_names(root)]


def clean(root: Path, *, keep: int) -> Collected:
    """Do `collect` on somebody's request: under the builders' lock, unused vector stores included.

    Raises:
        BuildLocked: A build is running.
        ValueError, ArtifactError, StorageError: As `collect`.
    """
    live_version(root)  # no lock file where there is no bundle
    with storage.exclusive_lock(root / LOCK, purpose=f"collect versions of {root.name}"):
        return collect(root, keep=keep, stores=True)


def rollback(root: Path, version: str = "", *, probing: bool = True) -> RolledBack:
    """Make an earlier version live again, after proving that it still answers as when it was built.

    The journal is applied to it as well: what was upserted since must be something that it can show.

    Args:
        root: The bundle directory.
        version: Which; default: the newest that is older than the live one.
        probing: Let a process of its own open indexes and products first; see `shortlist.probe`.

    Raises:
        ConfigError: There is no such version, or it is live already.
        ArtifactError, VectorError: The version is not whole, does not reproduce its stored queries, or cannot show what
            the journal says (vectors of another dimension came with later products); the live one stays.
        BuildLocked: A build is running.
        CommitUncertain: It is live, but may not be after a power cut.
    """
    from shortlist.living.changing import up_to_date
    from shortlist.loading import load_generation

    live, _ = live_version(root)
    with storage.exclusive_lock(root / LOCK, purpose=f"rollback {root.name}"):
        target = _chosen(root, version, live)
        bundle: Bundle = open_version(root, target)
        up_to_date(load_generation(bundle, runtime=RuntimeConfig(), probing=probing))
        storage.sync_folder(bundle.folder.parent)
        make_live(root, target, bundle.manifest_sha256)
    return RolledBack(version=target, previous=live)


def _chosen(root: Path, version: str, live: str) -> str:
    names = version_names(root)
    older = [name for name in names if name < live]
    if version == live:
        raise ConfigError(f"{version} is live already")
    if version and version not in names:
        raise ConfigError(f"{root} has no version {version}; it has {', '.join(names)}")
    if not version and not older:
        raise ConfigError(f"{root} has no version older than {live}, which is live; it has {', '.join(names)}")
    return version or older[-1]


def _retire(folder: Path) -> bool:
    """Remove a version unless somebody has it open."""
    try:
        held: Hold | None = storage.hold(folder / MANIFEST, alone=True)
    except ArtifactError:
        held = None  # without a manifest nobody can have opened it
        if (folder / MANIFEST).exists():
            raise
    else:
        if held is None:
            return False
    try:
        storage.retire_folder(folder)
    finally:
        if held is not None:
            held.close()
    return True


def _unused_stores(root: Path) -> Iterable[str]:
    """Remove every folder below ``vectors`` that no version's manifest names, and yield the names."""
    used = {manifest.vectors["store"] for manifest in version_manifests(root)}
    storage.remove_leftovers(root / VECTORS)
    for name in storage.list_folder(root / VECTORS):
        if f"{VECTORS}/{name}" not in used:
            storage.retire_folder(root / VECTORS / name)
            yield name
