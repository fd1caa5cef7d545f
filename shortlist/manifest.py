"""What a bundle version says of itself: every file with size and digest, and everything needed to open it again."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any, Self

from indexing.errors import ArtifactCorrupt, ArtifactIncompatible, ArtifactUntrusted
from indexing.storage import FileDigest
from retrieval.fingerprint import Fingerprint
from retrieval.models import is_model_file

FORMAT = 1
"""Version of the bundle layout; docs/formats.md says what each one holds and which are read."""

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,3}")
"""Names a manifest may list: relative, no leading dot, so no path can leave the bundle."""

CANARY_FILE = "canary.json"

OWN_FILES = frozenset(
    {
        "rows", "products.parquet", "quarantine.jsonl", CANARY_FILE,
        "index/faiss.index", "index/distinct.i64", "index/index.json",
        "lexical/postings.json", "lexical/vocabulary.txt", "lexical/offsets.i64", "lexical/rows.i32",
        "lexical/frequencies.i32", "lexical/lengths.i32", "lexical/bm25.json",
    }
)  # fmt: skip
"""What a version holds besides model folders; docs/formats.md describes each. No build writes another."""

MODEL_FOLDERS = ("encoder", "reranker", "student")

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SegmentDigest:
    """One immutable segment of the vector store, as a version uses it.

    Attributes:
        name: Such as ``segment-000000``.
        count: Vectors in it.
        vectors: Of its ``.f32`` file.
        keys: Of its ``.keys`` file.
        record: Of its ``.json`` file.
    """

    name: str
    count: int
    vectors: FileDigest
    keys: FileDigest
    record: FileDigest

    @property
    def files(self) -> dict[str, FileDigest]:
        """Name -> digest of its files in the store's folder."""
        return {f"{self.name}.f32": self.vectors, f"{self.name}.keys": self.keys, f"{self.name}.json": self.record}

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return what ``asdict`` made into JSON values; raises KeyError, TypeError or ValueError for another shape."""
        digests = {part: _digest(values[part]) for part in ("vectors", "keys", "record")}
        return cls(**{**values, "count": _count(values["count"])} | digests)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The record behind ``MANIFEST.json``.

    Attributes:
        format: ``FORMAT`` of the release that wrote it.
        version: Name of the version; also of its folder.
        created: When, by which release, and seconds per stage; the only part that differs between two equal builds.
        catalogue: Name, source files with digests, rows read, accepted, quarantined and deleted.
        journal_seq: The last record of the journal when the build began; records after it come on top of the version.
        text: The text template, frozen.
        tokens: Texts, tokens, truncated texts and unknown tokens as the encoder's tokenizer counts them.
        encoder: The encoder's configuration, frozen, with ``folder``; ``None`` when queries come as vectors.
        fingerprint: Field -> value of the query tower that the vectors belong to.
        vectors: Store folder, dimension and segments.
        index: Chosen kind and parameters, the reason, and recall against exact search.
        lexical: BM25 parameters, frozen.
        fusion: First fusion, frozen.
        reranker: The cross-encoder's configuration, frozen, with ``folder``; or of kind ``none``.
        reranker_fingerprint: Field -> value of the cross-encoder; empty when there is none.
        canary: File of what the version must answer, and how far an answer may be off.
        files: Every file of the version but the manifest itself.
    """

    format: int
    version: str
    created: Mapping[str, Any]
    catalogue: Mapping[str, Any]
    journal_seq: int
    text: dict[str, Any]
    tokens: Mapping[str, Any]
    encoder: dict[str, Any] | None
    fingerprint: Mapping[str, str]
    vectors: Mapping[str, Any]
    index: Mapping[str, Any]
    lexical: dict[str, Any]
    fusion: dict[str, Any]
    reranker: dict[str, Any]
    reranker_fingerprint: Mapping[str, str]
    canary: Mapping[str, Any]
    files: Mapping[str, FileDigest]

    @property
    def segments(self) -> tuple[SegmentDigest, ...]:
        """The vector segments that the version's rows point into, in store order."""
        return tuple(SegmentDigest.parse(segment) for segment in self.vectors["segments"])

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; the inverse of ``parse_manifest``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"files": {name: asdict(digest) for name, digest in self.files.items()}}


def parse_manifest(values: object, *, where: str) -> Manifest:
    """Check what a manifest file holds and return it as a record.

    Args:
        values: Parsed JSON.
        where: Path for messages.

    Raises:
        ArtifactCorrupt: Not an object, or a field is of another shape.
        ArtifactIncompatible: Written in another format version, or before it had all its fields.
        ArtifactUntrusted: Unknown fields, or file names that could leave the bundle.
    """
    if not isinstance(values, dict) or "format" not in values:
        raise ArtifactCorrupt(f"{where} is not a manifest (a JSON object with a format was expected)")
    if values["format"] != FORMAT or isinstance(values["format"], bool):
        raise ArtifactIncompatible(
            f"{where} has format {values['format']!r}, this release reads {FORMAT}; rebuild with: shortlist build"
        )
    expected = {field.name for field in fields(Manifest)}
    if set(values) != expected:
        missing, unknown = sorted(expected - set(values)), sorted(set(values) - expected)
        kind = ArtifactUntrusted if unknown else ArtifactIncompatible  # an older release knew fewer fields
        raise kind(f"{where}: missing fields {missing}, unknown fields {unknown}; rebuild with: shortlist build")
    _require_shapes(values, where)
    try:
        _count(values["journal_seq"])
        files = {name: _digest(digest) for name, digest in values["files"].items()}
        manifest = Manifest(**(values | {"files": files}))
        names = [*(segment.name for segment in manifest.segments), manifest.version, manifest.vectors["store"], *files]
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise ArtifactCorrupt(f"{where}: a field has another shape than this release writes: {error}") from error
    _require_whole_vectors(manifest, where)
    for name in map(str, names):
        if not FILE_NAME.fullmatch(name) or ".." in name:
            raise ArtifactUntrusted(
                f"{where} lists the file {name!r}; names must be relative and match {FILE_NAME.pattern}"
            )
    for name in files:
        folder, _, inside = name.partition("/")
        if name not in OWN_FILES and not (folder in MODEL_FOLDERS and is_model_file(PurePosixPath(inside))):
            raise ArtifactUntrusted(f"{where} lists the file {name!r}, which no build of this release writes")
    _require_canary(manifest, where)
    return manifest


def _digest(values: Mapping[str, Any]) -> FileDigest:
    digest = FileDigest(**values)
    if not SHA256.fullmatch(digest.sha256):
        raise ValueError(f"{digest.sha256!r} is no SHA-256")
    return FileDigest(_count(digest.size_bytes), digest.sha256)


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number from 0 on")
    return value


SHAPES: dict[str, dict[str, type]] = {
    "created": {"at": str},
    "catalogue": {"accepted": int, "sources": dict},
    "text": {"kind": str},
    "tokens": {},
    "fingerprint": {},
    "vectors": {"store": str, "dim": int, "segments": list},
    "index": {"kind": str, "config": dict},
    "lexical": {"kind": str},
    "fusion": {"kind": str},
    "reranker": {"kind": str},
    "reranker_fingerprint": {},
    "canary": {"file": str, "cosine": float, "overlap": float, "spread": float},
    "files": {},
}
"""Part of a manifest -> keys that opening reads, with their types; the rest of each part is for people."""


TOLERANCES = {"cosine": (1e-9, 1, "(0, 1]"), "overlap": (0.5, 1, "[0.5, 1]"), "spread": (0, 10, "[0, 10]")}
"""Tolerance of the canary -> smallest and largest value that proves anything, and both in words."""


def _require_shapes(values: dict[str, Any], where: str) -> None:
    """Refuse parts and keys of another type, so that nothing that opens a bundle meets them."""
    for part, keys in SHAPES.items():
        found = values[part]
        if not isinstance(found, dict):
            raise ArtifactCorrupt(f"{where}: {part} must be an object, got {type(found).__name__}")
        for key, kind in keys.items():
            if not isinstance(found.get(key), (int, float) if kind is float else kind):
                raise ArtifactCorrupt(f"{where}: {part}.{key} must be of type {kind.__name__}, got {found.get(key)!r}")
    for part in ("fingerprint", "reranker_fingerprint"):
        if not all(isinstance(value, str) for value in values[part].values()):
            raise ArtifactCorrupt(f"{where}: every field of {part} must be text")
    encoder = values["encoder"]
    if not (encoder is None or isinstance(encoder, dict)) or not isinstance(values["version"], str):
        raise ArtifactCorrupt(f"{where}: encoder must be an object or null, and version a string")


def _require_canary(manifest: Manifest, where: str) -> None:
    """Refuse a version that nothing would be asked of, or that any answer would do for."""
    if manifest.canary["file"] != CANARY_FILE or CANARY_FILE not in manifest.files:
        found = manifest.canary["file"]
        raise ArtifactUntrusted(f"{where}: a bundle has a canary among its files, {CANARY_FILE}, got {found!r}")
    for name, (least, most, interval) in TOLERANCES.items():
        if not least <= manifest.canary[name] <= most:
            raise ArtifactCorrupt(f"{where}: canary.{name} must be in {interval}, got {manifest.canary[name]}")


def _require_whole_vectors(manifest: Manifest, where: str) -> None:
    """Refuse vectors of another store than the fingerprint names, and segments that are not the first of it."""
    store = store_name(manifest.fingerprint)
    if manifest.vectors["store"] != store:
        raise ArtifactUntrusted(
            f"{where} takes its vectors from {manifest.vectors['store']!r}, its fingerprint names {store!r}"
        )
    names = [segment.name for segment in manifest.segments]
    if not names or names != [f"segment-{number:06d}" for number in range(len(names))]:
        raise ArtifactUntrusted(f"{where} lists the segments {names}, expected those of a store from its first on")


def store_name(fingerprint: Mapping[str, str]) -> str:
    """Return the folder of the vectors that a tower's product side owns, below the bundle.

    Sixteen hex digits keep paths short. Towers that differ on the query side alone share it, so that a new query prompt
    encodes no product again.
    """
    return f"vectors/{Fingerprint(dict(fingerprint)).product_side.digest[:16]}"
