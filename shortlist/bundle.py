"""A bundle on disk: versions beside each other, one of them live, every byte accounted for before it is parsed.

::

    <root>/CURRENT                     {"manifest_sha256", "version"} of the live version; replaced atomically
    <root>/LOCK                        held by a builder
    <root>/vectors/<store>/            append-only segments (indexing.vectors), shared by versions
    <root>/versions/<version>/         immutable once published; MANIFEST.json lists every file

Opening checks CURRENT, the manifest's own digest, its format, then size and SHA-256 of every file, before any library
parses one.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import (
    ArtifactCorrupt,
    ArtifactError,
    ArtifactNotFound,
    ArtifactUntrusted,
    CommitUncertain,
    StorageError,
)
from indexing.storage import FileDigest, Hold
from indexing.vectors import Segment, VectorStore
from shortlist.digest_cache import DigestCache
from shortlist.leases import MANIFEST, lease
from shortlist.manifest import Manifest, parse_manifest

CURRENT = "CURRENT"
LOCK = "LOCK"
STAGING = ".staging"
VERSIONS = "versions"
CURRENT_BYTES, MANIFEST_BYTES = 1 << 12, 1 << 26
"""Longest CURRENT and MANIFEST.json that are read; a manifest of 250,000 segments (a billion products) still fits."""
VERSION_NAME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{6}Z-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """One version of a bundle whose files were verified.

    Attributes:
        root: The bundle directory.
        folder: The version's own directory below it.
        manifest: What the version says of itself.
        manifest_sha256: Digest of the manifest file, as CURRENT gives it; with the name, the version's identity.
        lease: Keeps the version from being collected for as long as this object exists; see `shortlist.leases`.
    """

    root: Path
    folder: Path
    manifest: Manifest
    manifest_sha256: str
    lease: Hold = field(repr=False, compare=False)

    @property
    def store_folder(self) -> Path:
        """The folder of the vector store that the version's rows point into."""
        return self.root / str(self.manifest.vectors["store"])

    def open_vectors(self) -> VectorStore:
        """Open the segments that the manifest lists; whatever else lies in the store is not looked at.

        Raises:
            ArtifactNotFound, ArtifactCorrupt: A segment is gone or has another size.
        """
        return open_segments(self.store_folder, self.manifest)


def open_segments(folder: Path, manifest: Manifest) -> VectorStore:
    """Open the segments of a store that a manifest lists; see `Bundle.open_vectors`."""
    segments: list[Segment] = []
    for listed in manifest.segments:
        first_row = segments[-1].first_row + segments[-1].count if segments else 0
        segments.append(Segment(listed.name, first_row, listed.count, *astuple(listed.vectors)))
    return VectorStore(folder, dim=int(manifest.vectors["dim"]), segments=segments)


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """A version as ``shortlist versions`` lists it; ``problem`` says why nothing else is known of it, or is empty.

    ``precision`` is the arithmetic that products were encoded in, and ``precision_reason`` why; both are empty without
    an encoder and for versions that did not record it.
    """

    version: str
    live: bool
    products: int = 0
    created_at: str = ""
    index: str = ""
    size_bytes: int = 0
    precision: str = ""
    precision_reason: str = ""
    problem: str = ""


def live_version(root: Path) -> tuple[str, str]:
    """Return name and manifest digest of the live version.

    Raises:
        ArtifactNotFound: No bundle there.
        ArtifactCorrupt: CURRENT does not hold what this release writes.
    """
    if not (root / CURRENT).is_file():
        hint = _nearby_bundle(root)
        raise ArtifactNotFound(
            f"no bundle at {root}: {CURRENT} is missing{hint}; make one with: shortlist build --out {root}"
        )
    content = storage.read_bytes(root / CURRENT, at_most_bytes=CURRENT_BYTES)
    current = storage.parse_json(content, where=root / CURRENT)
    expected = {"manifest_sha256", "version"}
    whole = content.endswith(b"}\n")
    if (
        not whole
        or not isinstance(current, dict)
        or set(current) != expected
        or not all(isinstance(v, str) for v in current.values())
    ):
        raise ArtifactCorrupt(
            f"{root / CURRENT} must hold {sorted(expected)}; publish a version anew with: shortlist build --out {root}"
        )
    return current["version"], current["manifest_sha256"]


def open_bundle(root: Path, *, verify: bool = True, cached: bool = False) -> Bundle:
    """Open the live version of a bundle, every file verified.

    Args:
        root: The bundle directory.
        verify: Check size and SHA-256 of every file (about a second per GiB). Off only where the caller has just done
            so.
        cached: Take the digest of a file that has not changed since it was last hashed from `shortlist.digest_cache`,
            which says what that cannot see.

    Raises:
        ArtifactNotFound, ArtifactCorrupt, ArtifactIncompatible, ArtifactUntrusted: With the file and the reason.
    """
    return _open(root, *_lease_live(root), verify=verify, cached=cached)


def open_version(root: Path, version: str) -> Bundle:
    """Open a published version, live or not, every file verified.

    Raises:
        ArtifactNotFound, ArtifactCorrupt, ArtifactIncompatible, ArtifactUntrusted: With the file and the reason.
    """
    if not VERSION_NAME.fullmatch(version):
        raise ArtifactNotFound(f"{root} has no version {version!r}: no build names one so")
    folder = root / VERSIONS / version
    held = lease(folder)
    return _open(root, folder, storage.digest(folder / MANIFEST).sha256, held, verify=True)


def _open(root: Path, folder: Path, digest: str, held: Hold, *, verify: bool, cached: bool = False) -> Bundle:
    """Read the manifest of a leased version and verify its files; the lease is given back when that fails."""
    try:
        bundle = Bundle(root, folder, read_manifest(folder, digest), digest, held)
        if verify:
            cache = DigestCache(root) if cached else None
            verify_files(bundle, digest=cache.digest if cache else storage.digest)
            if cache:
                cache.write()
    except BaseException:
        held.close()
        raise
    return bundle


def _lease_live(root: Path) -> tuple[Path, str, Hold]:
    """Return folder and manifest digest of the live version, and the lease that keeps it from being collected."""
    while True:
        version, digest = live_version(root)
        if not VERSION_NAME.fullmatch(version):
            raise ArtifactUntrusted(f"{root / CURRENT} names version {version!r}, which no build writes")
        folder = root / VERSIONS / version
        try:
            return folder, digest, lease(folder)
        except ArtifactNotFound:
            if live_version(root)[0] == version:
                raise
            # It was superseded and collected between two calls here: what is live now is leased in its place.


def read_manifest(folder: Path, digest: str | None = None) -> Manifest:
    """Return the manifest of a version, held against its digest where that is known.

    Raises:
        ArtifactNotFound, ArtifactCorrupt, ArtifactIncompatible, ArtifactUntrusted: With the reason.
    """
    path = folder / MANIFEST
    content = storage.read_bytes(path, at_most_bytes=MANIFEST_BYTES)
    actual = hashlib.sha256(content).hexdigest()
    if digest is not None and actual != digest:
        raise ArtifactCorrupt(
            f"{path} was altered: SHA-256 is {actual[:16]}..., {CURRENT} says {digest[:16]}...; rebuild with: "
            "shortlist build"
        )
    manifest = parse_manifest(storage.parse_json(content, where=path), where=str(path))
    if manifest.version != folder.name:
        raise ArtifactUntrusted(f"{path} is of version {manifest.version}, but lies in {folder.name}")
    return manifest


def verify_files(bundle: Bundle, *, digest: Callable[[Path], FileDigest] = storage.digest) -> int:
    """Check every file of the version and every vector segment it uses; return the number of bytes they have.

    Args:
        bundle: Whose manifest says what each file must be.
        digest: Says what a file is.

    Raises:
        ArtifactCorrupt: A file is missing, or differs in size or SHA-256.
        ArtifactUntrusted: A file that the manifest does not list, one that is not a plain file, or a folder that lies
            outside the bundle.
    """
    for folder in (bundle.folder, bundle.store_folder):
        if not folder.resolve().is_relative_to(bundle.root.resolve()):
            raise ArtifactUntrusted(f"{folder} leads to {folder.resolve()}, which is outside the bundle")
    expected = {bundle.folder / name: digest for name, digest in bundle.manifest.files.items()}
    for segment in bundle.manifest.segments:
        expected |= {bundle.store_folder / name: digest for name, digest in segment.files.items()}
    for path in _walk(bundle.folder):
        if path not in expected and path != bundle.folder / MANIFEST:
            raise ArtifactUntrusted(f"{path} is not in {MANIFEST}; a published version is never added to: remove it")
    with ThreadPoolExecutor(max_workers=2) as pool:  # hashlib releases the GIL; two readers saturate a disk
        for _ in pool.map(partial(_verify_file, digest), expected.keys(), expected.values()):
            pass
    return sum(listed.size_bytes for listed in expected.values())


def _verify_file(digest: Callable[[Path], FileDigest], path: Path, expected: FileDigest) -> None:
    if path.is_symlink() or not path.is_file():
        raise ArtifactCorrupt(f"{path} is missing or not a plain file; rebuild with: shortlist build")
    if path.stat().st_size != expected.size_bytes:
        raise ArtifactCorrupt(
            f"{path} has {path.stat().st_size} bytes, the manifest says {expected.size_bytes}; rebuild with: "
            "shortlist build"
        )
    actual = digest(path)
    if actual != expected:
        raise ArtifactCorrupt(
            f"{path} was altered: SHA-256 is {actual.sha256[:16]}..., the manifest says {expected.sha256[:16]}...; "
            "rebuild with: shortlist build, or go back with: shortlist rollback"
        )


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def publish(root: Path, staging: Path, manifest: Manifest) -> None:
    """Make a finished staging folder the live version; a reader sees the old one or the new one, never a mixture.

    Args:
        root: The bundle directory, locked by the caller.
        staging: Folder on the same file system that holds every file of ``manifest``.
        manifest: What to write beside them.

    Raises:
        StorageError: With what failed; CURRENT still names the old version.
        CommitUncertain: The new version is live, but may not be after a power cut.
    """
    digest = storage.write_json(staging / MANIFEST, manifest.to_json())
    folder = root / VERSIONS / manifest.version
    storage.make_folder(folder.parent)
    try:
        storage.publish_folder(staging, folder)
    except CommitUncertain as uncertain:  # about a version that nothing names yet: nothing may be built upon it
        with suppress(StorageError):
            storage.retire_folder(folder)
        raise storage.undone(uncertain, f"{manifest.version} was not published, what was live is") from uncertain
    make_live(root, manifest.version, digest.sha256)


def make_live(root: Path, version: str, manifest_sha256: str) -> None:
    """Point CURRENT at a published version.

    Raises:
        StorageError: CURRENT is as it was.
        CommitUncertain: It names the version now, but may not after a power cut.
    """
    try:
        storage.replace_json(root / CURRENT, {"manifest_sha256": manifest_sha256, "version": version})
    except CommitUncertain as uncertain:
        raise CommitUncertain(
            f"{version} is live, but after a power cut the version before may be: {uncertain}; check the device, then "
            f"find out with: shortlist versions --bundle {root}"
        ) from uncertain


def version_names(root: Path) -> list[str]:
    """Return the names of the published versions, oldest first; none when there is no folder of them."""
    if not (root / VERSIONS).is_dir():
        return []
    return [name for name in storage.list_folder(root / VERSIONS) if VERSION_NAME.fullmatch(name)]


def list_versions(root: Path) -> list[VersionSummary]:
    """Return the published versions, newest first; one whose manifest cannot be read is listed with its problem.

    Raises:
        ArtifactNotFound: No bundle there.
        ArtifactCorrupt: CURRENT does not hold what this release writes.
    """
    live, _ = live_version(root)
    return [_summary(root / VERSIONS / name, live=name == live) for name in reversed(version_names(root))]


def _summary(folder: Path, *, live: bool) -> VersionSummary:
    try:
        manifest = read_manifest(folder)
    except (ArtifactError, StorageError) as error:
        return VersionSummary(version=folder.name, live=live, problem=str(error))
    size_bytes = sum(digest.size_bytes for digest in manifest.files.values())
    size_bytes += sum(segment.vectors.size_bytes for segment in manifest.segments)
    created: dict[str, Any] = dict(manifest.created)
    precision, reason = encoded_in(manifest)
    return VersionSummary(
        version=manifest.version,
        live=live,
        products=int(manifest.catalogue["accepted"]),
        created_at=str(created["at"]),
        index=str(manifest.index["kind"]),
        size_bytes=size_bytes,
        precision=precision,
        precision_reason=reason,
    )


def encoded_in(manifest: Manifest) -> tuple[str, str]:
    """Return the arithmetic that products were encoded in, and why; empty where none was, or it was not recorded."""
    recorded: Any = manifest.created.get("precision")
    if manifest.encoder is None or not isinstance(recorded, Mapping) or not recorded:
        return "", ""
    return str(recorded.get("kind", "")), str(recorded.get("reason", ""))


def _nearby_bundle(root: Path) -> str:
    """Name the bundle that was probably meant: the root above a version's own folder."""
    for parent in root.parents:
        if (parent / CURRENT).is_file():
            return f" (it lies in the bundle {parent}: open that)"
    return "" if root.exists() else " (the directory does not exist)"
