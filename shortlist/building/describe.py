"""The manifest of a finished build: everything that opening, verifying and comparing versions will need."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.storage import FileDigest
from indexing.types import IntVector
from indexing.vectors import VectorStore
from retrieval.catalog import Catalog
from retrieval.fingerprint import Fingerprint
from retrieval.tokens import TokenCounts
from shortlist.building.vectors import used_segments
from shortlist.bundle import version_names
from shortlist.config import BuildConfig
from shortlist.manifest import FORMAT, Manifest, store_name
from shortlist.stored import freeze
from shortlist.version import __version__

_MOMENT = "%Y-%m-%dT%H%M%SZ"
"""The time in a version's name; UTC."""


def describe(
    config: BuildConfig,
    *,
    out: Path,
    catalogue: dict[str, Any],
    journal_seq: int,
    tokens: TokenCounts,
    fingerprint: Fingerprint,
    reranker: Fingerprint,
    store: VectorStore,
    rows: IntVector,
    index: Mapping[str, Any],
    canary: dict[str, Any],
    files: Mapping[str, FileDigest],
    seconds: Mapping[str, float],
    precision: Mapping[str, Any],
) -> Manifest:
    """Put together the manifest of a version that is about to be published.

    Args:
        config: What was built.
        out: Bundle directory.
        catalogue: As ``catalogue_record`` returns it.
        journal_seq: The last record of the journal when the build began.
        tokens: Counts of the encoder's tokenizer.
        fingerprint: Of what made the vectors.
        reranker: Fingerprint of the cross-encoder; without fields when there is none.
        store: The vector store that the version points into.
        rows: Store row of every product, int64 [n].
        index: Summary of the index.
        canary: File and tolerances of what the version must answer.
        files: Every file of the version, relative names.
        seconds: Per stage.
        precision: Arithmetic that products were encoded in, and why; rates are in it, so it belongs to ``created``.

    Returns:
        The manifest; apart from ``version`` and ``created`` it depends on the content alone.
    """
    reranking = freeze("reranker", config.reranker)
    if "model" in reranking:
        reranking["model"] = "reranker"
        if reranking["student"]:
            reranking["student"] = "student"
        else:  # says nothing, and releases without cascades can read the rest
            del reranking["student"], reranking["passes"]
    content: dict[str, Any] = {
        "format": FORMAT,
        "catalogue": catalogue,
        "journal_seq": journal_seq,
        "text": freeze("text", config.text),
        "tokens": asdict(tokens),
        "encoder": freeze("encoder", config.encoder) | {"model": "encoder"} if config.encoder.model else None,
        "fingerprint": dict(fingerprint.fields),
        "vectors": {
            "store": store_name(fingerprint.fields),
            "dim": store.dim,
            "segments": [asdict(segment) for segment in used_segments(store, rows)],
        },
        "index": index,
        "lexical": freeze("lexical", config.lexical),
        "fusion": freeze("fusion", config.fusion),
        "reranker": reranking,
        "reranker_fingerprint": dict(reranker.fields),
        "canary": canary,
    }
    created = {"by": f"shortlist {__version__}", "seconds": dict(seconds), "precision": dict(precision)}
    unnamed = Manifest(version="", created=created, files=dict(sorted(files.items())), **content)
    return renamed(unnamed, out)


def renamed(manifest: Manifest, out: Path) -> Manifest:
    """Return a manifest as that of a version of its own, to be published into ``out``: named by what it now says."""
    content = {
        field.name: getattr(manifest, field.name)
        for field in fields(Manifest)
        if field.name not in ("version", "created", "files")
    }
    version = _version_name(out, content, manifest.files)
    created = {"at": version.rpartition("-")[0], **{k: v for k, v in manifest.created.items() if k != "at"}}
    return replace(manifest, version=version, created=created)


def catalogue_record(catalog: Catalog, *, deleted: int) -> dict[str, Any]:
    """Return name, source digests and row counts of a catalogue that was read to its end.

    Args:
        catalog: Every row of it became a product, was quarantined, or was left out as deleted.
        deleted: How many good rows were left out because the journal says that their product is deleted.
    """
    report = catalog.report
    return {
        "name": catalog.name,
        "sources": {path.name: storage.digest(path).sha256 for path in catalog.files()},
        "rows": report.rows,
        "accepted": report.accepted - deleted,
        "quarantined": report.quarantined,
        "deleted": deleted,
        "problems": dict(report.problems),
    }


def _version_name(out: Path, content: dict[str, Any], files: Mapping[str, FileDigest]) -> str:
    """Name a version by when it was built and what is in it; a second after the newest there is, if that is later.

    So names rise with the order of publication, whatever the clock does.
    """
    listed = {name: digest.sha256 for name, digest in files.items()}
    text = json.dumps([content, listed], sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    moment = datetime.now(UTC)
    for newest in version_names(out)[-1:]:
        moment = max(moment, datetime.strptime(newest[:-7], _MOMENT).replace(tzinfo=UTC) + timedelta(seconds=1))
    return f"{moment:{_MOMENT}}-{digest}"
