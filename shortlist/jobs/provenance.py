"""Where an evaluation's numbers come from: its configuration as composed, and the essentials of its bundle."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from enum import Enum
from typing import Any

from retrieval.fingerprint import Fingerprint
from shortlist.bundle import Bundle
from shortlist.evaluation.origins import flat
from shortlist.evaluation.records import Provenance
from shortlist.manifest import Manifest
from shortlist.schemas import GROUPS
from shortlist.stored import freeze


def configuration_of(config: Any) -> dict[str, str]:  # noqa: ANN401 - the schema of any job
    """Return a composed configuration as dotted names and texts; what is empty is left out.

    A group says under ``kind`` which of its schemas was chosen.
    """
    return flat({field.name: _plain(field.name, getattr(config, field.name)) for field in fields(config)})


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401 - anything a schema holds
    if name in GROUPS:
        return {key: _plain(key, of) for key, of in freeze(name, value).items()}
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Enum):
        return value.name
    return [_plain("", part) for part in value] if isinstance(value, list) else value


def with_bundle(told: Provenance, bundle: Bundle) -> Provenance:
    """Add what a bundle says of itself."""
    manifest = bundle.manifest
    return replace(
        told,
        bundle=str(bundle.root),
        generation=manifest.version,
        fingerprint=Fingerprint(dict(manifest.fingerprint)).digest,
        digests={**manifest.catalogue["sources"], **told.digests},
        settings=_essentials(manifest),
    )


def _essentials(manifest: Manifest) -> dict[str, str]:
    """Return what decides the answers, and what was measured when the bundle was built."""
    parts: Mapping[str, Any] = {
        "built by": manifest.created.get("by"),
        "products": manifest.catalogue["accepted"],
        "text": manifest.text,
        "query tower": manifest.fingerprint,
        "index": manifest.index["config"],
        "index reason": manifest.index.get("reason"),
        "index recall": manifest.index.get("recall"),
        "lexical": manifest.lexical,
        "fusion": manifest.fusion,
        "reranker": manifest.reranker,
    }
    return flat(parts)
