"""What a bundle on disk is: whether it opens and answers, and whether two of them are the same to the byte."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from shortlist.bundle import CURRENT, LOCK, VERSIONS, live_version, open_bundle, open_version, version_names
from shortlist.engine import SearchEngine
from tools.reliability.harness.shop import WORDS, stub_encoder

NAMED_OR_TIMED = ("version", "created")
"""The parts of a manifest in which two equal builds differ."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a reader finds.

    Attributes:
        live: Digest of the live version's manifest, without name and time: the files and everything that made them.
        answers: Digest of what it answers to a few queries.
        versions: How many versions are published; all of them whole.
    """

    live: str
    answers: str
    versions: int


def look(root: Path, *, search: bool = True) -> dict[str, Any]:
    """Open the live version, search it, and verify every other; returns a `Sight` as JSON values.

    Raises:
        ShortlistError: When something published is not whole.
    """
    bundle = open_bundle(root)
    answers = ""
    if search:
        with stub_encoder():
            engine = SearchEngine.open(root, probe=False)
        found = [[(hit.product_id, hit.score, hit.product.price) for hit in engine.search(w, k=5).hits] for w in WORDS]
        answers = _digest(found)
    for name in version_names(root):
        open_version(root, name)
    content = {field.name: getattr(bundle.manifest, field.name) for field in fields(bundle.manifest)}
    content["files"] = {name: asdict(digest) for name, digest in bundle.manifest.files.items()}
    kept = {name: value for name, value in content.items() if name not in NAMED_OR_TIMED}
    return asdict(Sight(_digest(kept), answers, len(version_names(root))))


def tree(root: Path) -> dict[str, str]:
    """Return path -> SHA-256 of everything that two equal bundles have in common.

    That is the live version (its manifest without name and time), the vector stores, and whatever else lies there:
    other versions are left out, staging folders and temporary files are not.
    """
    live, _ = live_version(root)
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or name in (LOCK, CURRENT):
            continue
        if name.startswith(f"{VERSIONS}/"):
            version, _, inside = name.removeprefix(f"{VERSIONS}/").partition("/")
            if version in version_names(root) and version != live:
                continue
            name = f"live/{inside}" if version == live else name
        found[name] = _manifest_digest(path) if name == "live/MANIFEST.json" else _file_digest(path)
    return found


def differences(found: dict[str, str], expected: dict[str, str]) -> str:
    """Return the names in which two trees differ, in words; empty when they are the same."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    changed = sorted(name for name in found.keys() & expected.keys() if found[name] != expected[name])
    parts = {"missing": missing, "left over": extra, "other bytes": changed}
    return "; ".join(f"{words}: {', '.join(names[:5])}" for words, names in parts.items() if names)


def _manifest_digest(path: Path) -> str:
    content = json.loads(path.read_bytes())
    return _digest({name: value for name, value in content.items() if name not in NAMED_OR_TIMED})


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
